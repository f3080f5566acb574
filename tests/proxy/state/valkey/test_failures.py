from __future__ import annotations

import pytest

from proxy.state.base import Turn
from proxy.state.valkey.failures import TELL_AGAIN_S, Failures
from tests.fakes.hand_clock import HandClock
from tests.parts.until import until
from tests.parts.valkey import Valkey
from tests.proxy.state.valkey.conftest import Join

HOUR_S = 3600.0


def test_all_are_counted_and_one_a_minute_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = HandClock()
    failures = Failures(clock)
    for _ in range(100):
        failures.note("blobs", RuntimeError("full"))
        failures.note("turns", TimeoutError())
    assert failures.counts == {"blobs": 100, "turns": 100}
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "the shared state did not answer for blobs: full",
        "the shared state did not answer for turns: TimeoutError",
    ]
    clock.pass_by(TELL_AGAIN_S)
    failures.note("blobs", RuntimeError("full"))
    assert len(caplog.records) == 3


async def test_a_server_without_memory_is_seen(
    join: Join, server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    state = await join(server.url, beat_s=30.0)
    server.be_full()
    state.blobs.put("a", b"a", HOUR_S, 10_000)
    await until(lambda: not state.blobs._waiting, "it was tried")
    assert await state.turns.ask("gpu", HOUR_S, HOUR_S) == Turn(is_mine=True)
    assert state.failed == {"blobs": 1, "turns": 1}
    told = [record.getMessage() for record in caplog.records]
    assert [("OOM" in words or "maxmemory" in words) for words in told] == [True, True]


async def test_a_server_without_memory_is_away_till_it_has_some(
    join: Join, server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    state = await join(server.url, beat_s=0.1)
    server.be_full()
    await until(lambda: state.is_away, "it is noticed")
    assert "maxmemory" in caplog.text
    server.have_room()
    await until(lambda: not state.is_away, "it is back")
