"""The live tail: finished requests, told to whoever watches at this moment.

Nobody is waited for: a watcher that reads slowly misses some, and is told how many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Final, Generic, TypeVar

from proxy.core.types import Record

T = TypeVar("T")

_MOST: Final = 1000


class Watcher(Generic[T]):
    """What one of them has still to read."""

    def __init__(self, limit: int = _MOST) -> None:
        self._waiting: deque[T] = deque()
        self._limit = limit
        self._come = asyncio.Event()
        self.missed = 0

    def tell(self, one: T) -> None:
        if len(self._waiting) >= self._limit:
            self.missed += 1
            return
        self._waiting.append(one)
        self._come.set()

    async def take(self, timeout_s: float) -> list[T]:
        """Wait for some; an empty list when the time is over."""
        if not self._waiting:
            self._come.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._come.wait()
            except TimeoutError:
                return []
        taken = list(self._waiting)
        self._waiting.clear()
        return taken


class Tail:
    """`note` each record while `is_watched`."""

    def __init__(self) -> None:
        self._watchers: list[Watcher[Record]] = []

    @property
    def is_watched(self) -> bool:
        return bool(self._watchers)

    def note(self, record: Record) -> None:
        for watcher in self._watchers:
            watcher.tell(record)

    async def watch(
        self, pause_s: float, limit: int = _MOST
    ) -> AsyncGenerator[tuple[list[Record], int], None]:
        """Yield what has come and how many were missed; nothing after each pause."""
        watcher = Watcher[Record](limit)
        self._watchers.append(watcher)
        try:
            while True:
                records = await watcher.take(pause_s)
                missed, watcher.missed = watcher.missed, 0
                yield records, missed
        finally:
            self._watchers.remove(watcher)
