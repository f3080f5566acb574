"""Time: the only place that reads a clock.

`Ticker` is the gateway's one timer for deadlines: whoever waits registers and is
asked now and then whether its time is over. A timer per chunk or per request
would cost more than the request; a sweep over a thousand streams costs 0.1 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

monotonic = time.monotonic
wall = time.time
cpu = time.process_time
sleep = asyncio.sleep

TICK_S: Final = 0.25


class Ticking(Protocol):
    def tick(self, now: float) -> None: ...


class Ticker:
    """Calls `tick(now)` of everything registered, every quarter of a second."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._members: set[Ticking] = set()
        self._handle: asyncio.TimerHandle | None = None
        self._on_fault: Callable[[Exception], None] = _ignore

    async def __aenter__(self) -> Ticker:
        self._arm()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def add(self, member: Ticking) -> None:
        self._members.add(member)

    def discard(self, member: Ticking) -> None:
        self._members.discard(member)

    def __len__(self) -> int:
        return len(self._members)

    def report_faults_to(self, callback: Callable[[Exception], None]) -> None:
        self._on_fault = callback

    def _arm(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(TICK_S, self._fire)

    def _fire(self) -> None:
        self._arm()
        now = self._now()
        for member in tuple(self._members):
            try:
                member.tick(now)
            except Exception as error:  # one faulty member must not stop the others
                self._on_fault(error)


def _ignore(_: Exception) -> None:
    """Until somebody wants to know of faults."""
