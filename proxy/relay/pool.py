"""The connections of one origin: idle ones for reuse, busy ones to be counted.

Servers drop idle connections after 5 s (uvicorn, gunicorn), so ours leave first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from proxy.core import clock
from proxy.relay.connection import Connection
from proxy.relay.dial import dial
from proxy.relay.errors import ConnectFailed
from proxy.relay.head import HeadReader
from proxy.relay.origin import Origin

IDLE_S: Final = 4.0
IDLE_LIMIT: Final = 256


class Pool:
    """Last in, first out, so that a quiet pool shrinks to what is used."""

    __slots__ = ("_heads", "_idle", "_now", "_open", "origin")

    def __init__(
        self, origin: Origin, now: Callable[[], float] = clock.monotonic
    ) -> None:
        self.origin = origin
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._now = now
        self._heads = HeadReader()

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def busy(self) -> int:
        return len(self._open) - len(self._idle)

    def take(self) -> Connection | None:
        """Answer an idle connection that is still fresh."""
        idle, now = self._idle, self._now
        while idle:
            connection = idle.pop()
            transport = connection.transport
            is_open = transport is not None and not transport.is_closing()
            if is_open and now() - connection.idle_since < IDLE_S:
                return connection
            connection.abort()
        return None

    async def open(self) -> Connection:
        """Dial a new one. Raises ConnectFailed."""
        connection = await dial(
            self.origin, lambda: Connection(self.give_back, self._lost, self._heads)
        )
        if connection.transport is None:  # lost before we came to use it
            raise ConnectFailed("it closed the connection at once")
        self._open.add(connection)
        return connection

    def tick(self, now: float) -> None:
        """Close what has been idle too long."""
        keep = [c for c in self._idle if now - c.idle_since < IDLE_S]
        gone = [c for c in self._idle if now - c.idle_since >= IDLE_S]
        self._idle = keep
        for connection in gone:
            connection.abort()

    def close(self) -> None:
        for connection in tuple(self._open):
            connection.abort()
        self._idle.clear()

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next who asks."""
        if len(self._idle) >= IDLE_LIMIT:
            connection.abort()
            return
        now = self._now
        connection.idle_since = now()
        self._idle.append(connection)

    def put_back(self, connection: Connection) -> None:
        """Keep one that was taken and not used: it is no fresher for that."""
        self._idle.append(connection)

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
