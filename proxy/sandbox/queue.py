"""The queue in front of an engine: first come, first served, bounded in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.core.errors import GatewayFault

_AGAIN_S = 1.0


class Queue:
    """Lets `slots` runs through at once. Length, bytes and patience are bounded."""

    def __init__(
        self, slots: int, most_waiting: int, most_bytes: int, patience_s: float
    ) -> None:
        # asyncio's semaphore wakes who has waited longest, and nobody overtakes.
        self._slots = asyncio.Semaphore(slots)
        self._most_waiting = most_waiting
        self._most_bytes = most_bytes
        self._patience_s = patience_s
        self.waiting = 0
        self.waiting_bytes = 0
        self.running = 0

    @asynccontextmanager
    async def slot(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait for a slot and hold it. Raises GatewayFault `queue_full`."""
        await self._wait(size_bytes)
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._slots.release()

    async def _wait(self, size_bytes: int) -> None:
        if self._slots.locked() and not self._has_room(size_bytes):
            raise _full("Too many runs are waiting already.")
        self.waiting += 1
        self.waiting_bytes += size_bytes
        try:
            async with asyncio.timeout(self._patience_s):
                await self._slots.acquire()
        except TimeoutError:
            raise _full(f"No run ended within {self._patience_s:g} s.") from None
        finally:
            self.waiting -= 1
            self.waiting_bytes -= size_bytes

    def _has_room(self, size_bytes: int) -> bool:
        return (
            self.waiting < self._most_waiting
            and self.waiting_bytes + size_bytes <= self._most_bytes
        )


def _full(message: str) -> GatewayFault:
    return GatewayFault("queue_full", message, retry_after_s=_AGAIN_S)
