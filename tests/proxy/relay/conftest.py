"""A client over connections without sockets, with a clock that is moved by hand.

Tests that need real sockets take a Client of their own, on the loop production has.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from proxy.relay import pool
from proxy.relay.client import Client
from tests.fakes.hand_clock import HandClock
from tests.fakes.transport import FakeDial
from tests.proxy.relay.rig import Rig


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


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


@pytest.fixture
def rig(client: Client, dial: FakeDial, hands: HandClock) -> Rig:
    return Rig(client, dial, hands)
