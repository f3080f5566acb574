"""The queue in front of an engine: callers take turns, each in the order in which it
came; bounded in every way.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.core.errors import GatewayFault

_AGAIN_S = 1.0


class Queue:
    """Lets `slots` runs through at once. Length, bytes and patience are bounded."""

    def __init__(
        self, slots: int, most_waiting: int, most_bytes: int, patience_s: float
    ) -> None:
        self._free = slots
        # By holder, the next to be served first; who was served goes to the end.
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._most_waiting = most_waiting
        self._most_bytes = most_bytes
        self._patience_s = patience_s
        self.waiting = 0
        self.waiting_bytes = 0
        self.running = 0

    @asynccontextmanager
    async def slot(self, size_bytes: int, holder: str = "") -> AsyncIterator[None]:
        """Wait for a slot and hold it. Raises GatewayFault `queue_full`.

        `holder` is whom waiting is fair between: a key, or a tenant.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(size_bytes, holder)
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._hand_on()

    async def _wait(self, size_bytes: int, holder: str) -> None:
        if not self._has_room(size_bytes):
            raise _full("Too many runs are waiting already.")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(holder, deque()).append(turn)
        self.waiting += 1
        self.waiting_bytes += size_bytes
        try:
            async with asyncio.timeout(self._patience_s):
                await turn
        except BaseException as error:
            self._leave(turn, holder)
            if isinstance(error, TimeoutError):
                message = f"No run ended within {self._patience_s:g} s."
                raise _full(message) from None
            raise
        finally:
            self.waiting -= 1
            self.waiting_bytes -= size_bytes

    def _leave(self, turn: asyncio.Future[None], holder: str) -> None:
        """Go without a run; a slot that was handed over in this moment is handed on."""
        if turn.done() and not turn.cancelled():
            self._hand_on()
            return
        line = self._lines.get(holder)
        if line is not None and turn in line:
            line.remove(turn)
            if not line:
                del self._lines[holder]

    def _hand_on(self) -> None:
        while self._lines:
            holder, line = self._lines.popitem(last=False)
            turn = line.popleft()
            if line:
                self._lines[holder] = line
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _has_room(self, size_bytes: int) -> bool:
        return (
            self.waiting < self._most_waiting
            and self.waiting_bytes + size_bytes <= self._most_bytes
        )


def _full(message: str) -> GatewayFault:
    return GatewayFault("queue_full", message, retry_after_s=_AGAIN_S)
