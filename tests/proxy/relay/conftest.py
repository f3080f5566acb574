"""A client over connections without sockets, with a clock that is moved by hand.

Tests that need real sockets take `asyncio`'s own, on the loop production has.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, sleep
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from proxy.relay import pool
from proxy.relay.client import Client
from proxy.relay.origin import Origin
from tests.fakes.hand_clock import HandClock
from tests.fakes.transport import FakeDial

ORIGIN = Origin("http", "box.lan", 8000)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


async def settle() -> None:
    """Let everything run that can run without the world's doing something."""
    for _ in range(10):
        await sleep(0)


@pytest.fixture
def hands() -> HandClock:
    return HandClock()


@pytest.fixture
def dial(monkeypatch: pytest.MonkeyPatch) -> FakeDial:
    """Connections are made of nothing."""
    fake = FakeDial()
    monkeypatch.setattr(pool, "dial", fake)
    return fake


@pytest.fixture
async def client(hands: HandClock, dial: FakeDial) -> AsyncIterator[Client]:
    async with Client(hands.ticker, hands) as opened:
        yield opened
