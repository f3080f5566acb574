"""A reply that goes through to another: the base of those that look on, or alter it.

A subclass says what it does otherwise. What it does not see is nothing: a chunk that
could be forwarded as it came is written instead, so that `write` sees all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.core.call import Lane, Pausable, Reply, Tunnel
from proxy.core.types import Pair


class PassedReply:
    """Implements Reply by another."""

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    @property
    def started(self) -> bool:
        return self._reply.started

    @property
    def ended(self) -> bool:
        return self._reply.ended

    @property
    def gone(self) -> bool:
        return self._reply.gone

    @property
    def paused(self) -> bool:
        return self._reply.paused

    @property
    def bytes_out(self) -> int:
        return self._reply.bytes_out

    @property
    def status(self) -> int:
        return self._reply.status

    def start(
        self,
        status: int,
        headers: Sequence[Pair],
        length: int | None,
        block: bytes = b"",
    ) -> None:
        self._reply.start(status, headers, length, block)

    def whole(
        self, status: int, headers: Sequence[Pair], body: bytes, block: bytes = b""
    ) -> None:
        self._reply.whole(status, headers, body, block)

    def write(self, data: bytes) -> None:
        self._reply.write(data)

    def lend(self, lane: Lane) -> None:
        """Leave it shut: what passes is looked at."""

    def end(self, trailers: Sequence[Pair] = (), last: bytes = b"") -> None:
        if last:
            self.write(last)
        self._reply.end(trailers)

    def abort(self) -> None:
        self._reply.abort()

    def feed_from(self, source: Pausable | None) -> None:
        self._reply.feed_from(source)

    def upgrade(self, headers: Sequence[Pair], tunnel: Tunnel) -> Pausable:
        return self._reply.upgrade(headers, tunnel)
