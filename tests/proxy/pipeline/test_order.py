from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from providers.wire.dialect import Dialect
from proxy.core.errors import GatewayFault
from proxy.core.types import Record
from proxy.pipeline.order import Course

STOPPING = GatewayFault("shutting_down", "The gateway is stopping.")


def course() -> Course:
    nobody = cast(Any, None)
    return Course(nobody, nobody, Record("r", "chat", 0.0), Dialect.CHAT)


async def test_an_interruption_says_goodbye_and_ends_the_call() -> None:
    said: list[str] = []
    interrupted = course()
    interrupted.task = asyncio.ensure_future(asyncio.sleep(60))
    interrupted.farewell = lambda: said.append("goodbye")
    await asyncio.sleep(0)
    interrupted.interrupt(STOPPING)
    assert interrupted.interruption is STOPPING
    assert said == ["goodbye"]
    with pytest.raises(asyncio.CancelledError):
        await interrupted.task


async def test_a_call_is_interrupted_once() -> None:
    interrupted = course()
    interrupted.task = asyncio.ensure_future(asyncio.sleep(60))
    interrupted.interrupt(STOPPING)
    interrupted.interrupt(GatewayFault("internal_error", "Later."))
    assert interrupted.interruption is STOPPING
    assert interrupted.task.cancelling() == 1
    interrupted.task.cancel()


def test_one_that_has_ended_is_left_alone() -> None:
    ended = course()
    ended.interrupt(STOPPING)
    assert ended.interruption is None
