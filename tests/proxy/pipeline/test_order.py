from __future__ import annotations

from typing import Any, cast

from providers.wire.dialect import Dialect
from proxy.core.errors import GatewayFault
from proxy.core.types import Record
from proxy.pipeline.order import Course

STOPPING = GatewayFault("shutting_down", "The gateway is stopping.")


def course() -> Course:
    nobody = cast(Any, None)
    return Course(nobody, nobody, Record("r", "chat", 0.0), Dialect.CHAT, None)


def test_an_interruption_says_goodbye_and_ends_the_call() -> None:
    said: list[str] = []
    interrupted = course()
    interrupted.cancel = lambda: said.append("cancelled")
    interrupted.farewell = lambda: said.append("goodbye")
    interrupted.interrupt(STOPPING)
    assert interrupted.interruption is STOPPING
    assert said == ["goodbye", "cancelled"]


def test_a_call_is_interrupted_once() -> None:
    said: list[str] = []
    interrupted = course()
    interrupted.cancel = lambda: said.append("cancelled")
    interrupted.interrupt(STOPPING)
    interrupted.interrupt(GatewayFault("internal_error", "Later."))
    assert interrupted.interruption is STOPPING
    assert said == ["cancelled"]


def test_one_that_has_ended_is_left_alone() -> None:
    ended = course()
    ended.interrupt(STOPPING)
    assert ended.interruption is None
