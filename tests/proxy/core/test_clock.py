from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.core import clock
from proxy.core.clock import TICK_S, Ticker


class Member:
    """Notes each tick, and does something then."""

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.ticks: list[float] = []
        self.rang = asyncio.Event()
        self._act = act

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        self.rang.set()
        self._act()


def test_the_clocks_are_those_of_the_machine() -> None:
    assert clock.monotonic() <= clock.monotonic()
    assert clock.wall() > 1_700_000_000


async def test_members_are_asked_again_and_again_with_the_time() -> None:
    times = iter(range(1, 100))
    member = Member()
    async with Ticker(lambda: next(times)) as ticker, asyncio.timeout(20):
        ticker.add(member)
        for _ in range(2):
            await member.rang.wait()
            member.rang.clear()
    assert member.ticks == [1, 2]
    assert TICK_S <= 0.5, "a caller's going must be noticed within a second"


async def test_nobody_is_asked_outside_the_block() -> None:
    ticker = Ticker(lambda: 1.0)
    member = Member()
    ticker.add(member)
    async with ticker:
        pass
    assert ticker._handle is None
    assert member.ticks == []


def fire(ticker: Ticker) -> None:
    """What the timer does, now."""
    ticker._fire()
    assert ticker._handle is not None
    ticker._handle.cancel()


async def test_a_faulty_member_stops_no_other_and_is_reported() -> None:
    def fail() -> None:
        raise RuntimeError("a defect")

    faults: list[Exception] = []
    ticker = Ticker(lambda: 1.0)
    before, faulty, after = Member(), Member(fail), Member()
    for member in (before, faulty, after):
        ticker.add(member)
    fire(ticker)  # nobody wants to know yet
    ticker.report_faults_to(faults.append)
    fire(ticker)
    assert [str(fault) for fault in faults] == ["a defect"]
    assert [len(m.ticks) for m in (before, faulty, after)] == [2, 2, 2]


async def test_members_may_come_and_go_during_a_tick() -> None:
    ticker = Ticker(lambda: 1.0)
    late = [Member(), Member()]

    def leave() -> None:
        ticker.discard(leaving)
        for member in late:
            ticker.add(member)

    leaving = Member(leave)
    ticker.add(leaving)
    fire(ticker)
    fire(ticker)
    assert [len(member.ticks) for member in (leaving, *late)] == [1, 1, 1]


def test_members_are_counted_once() -> None:
    ticker = Ticker()

    class Quiet:
        def tick(self, now: float) -> None:
            raise AssertionError

    member = Quiet()
    ticker.add(member)
    ticker.add(member)
    assert len(ticker) == 1
    ticker.discard(member)
    ticker.discard(member)
    assert len(ticker) == 0
