"""An upgraded connection, passed both ways byte by byte.

Frames, masks, extensions and close codes are the two ends' affair; we follow
frame boundaries only, so that at shutdown a close frame can be said properly.
Each side is paused while the other takes no more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Final

from proxy.core import clock
from proxy.core.call import Reply
from proxy.core.types import Pair
from proxy.relay.client import Client, Outgoing
from proxy.relay.connection import Connection
from proxy.relay.errors import Phase, TimedOut, UpstreamFailed
from proxy.relay.head import ReplyHead
from proxy.relay.headers import trailers_for_caller
from proxy.relay.origin import Origin

IDLE_S: Final = 3600.0
LIFETIME_S: Final = 24 * 3600.0
_GOING_AWAY: Final = (1001).to_bytes(2, "big")


class Frames:
    """Follows frame boundaries in a stream of WebSocket bytes (RFC 6455 §5.2)."""

    __slots__ = ("_head", "_left", "closing")

    def __init__(self) -> None:
        self._left = 0
        self._head = b""
        self.closing = False

    @property
    def between(self) -> bool:
        """True where one frame has ended and no other begun."""
        return not self._left and not self._head

    @property
    def takes_ours(self) -> bool:
        """True where a frame of our own may be put in: never after a close frame."""
        return self.between and not self.closing

    def feed(self, data: bytes) -> None:
        at, end = 0, len(data)
        while at < end:
            if self._left:
                step = min(self._left, end - at)
                self._left -= step
                at += step
                continue
            self._head += data[at : at + 1]
            at += 1
            self._read_head()

    def _read_head(self) -> None:
        head = self._head
        if len(head) < 2:
            return
        size, masked = head[1] & 0x7F, head[1] & 0x80
        extra = {126: 2, 127: 8}.get(size, 0)
        if len(head) < 2 + extra:
            return
        if extra:
            size = int.from_bytes(head[2:], "big")
        self.closing = self.closing or head[0] & 0x0F == 8
        self._left = size + (4 if masked else 0)
        self._head = b""


class WebSocketTransfer:
    """Sink of the upgrade's reply, then the tunnel between caller and upstream.

    `bytes_in` came from the caller, `bytes_out` from the upstream.
    """

    def __init__(
        self, reply: Reply, fields_for: Callable[[ReplyHead], Sequence[Pair]]
    ) -> None:
        self._reply = reply
        self._fields_for = fields_for
        self._connection: Connection | None = None
        self._ended: asyncio.Future[None] | None = None
        self._from_caller, self._from_upstream = Frames(), Frames()
        self._seen = (0, 0)
        self._seen_at = self._began_at = clock.monotonic()
        self._first_byte_s = 0.0
        self.head: ReplyHead | None = None
        self.bytes_in = 0
        self.bytes_out = 0

    async def run(
        self,
        client: Client,
        origin: Origin,
        out: Outgoing,
        ticker: clock.Ticker,
        *,
        connect_s: float,
        first_byte_s: float,
    ) -> None:
        """Ask for the upgrade and pass bytes until one side closes.

        A refusal is relayed as it is. Raises UpstreamFailed before that.
        """
        origin = origin.tunnelled()  # no proxy reads frames (RFC 6455 §4.1)
        connection = await client.connect(origin, connect_s)
        self._connection = connection
        self._first_byte_s = first_byte_s
        self._began_at = self._seen_at = clock.monotonic()
        self._ended = asyncio.get_running_loop().create_future()
        ticker.add(self)
        try:
            client.send(connection, origin, out, self)
            await self._ended
        finally:
            ticker.discard(self)
            self._reply.feed_from(None)
            if self._connection is not None:
                self._connection.abort()
            if self._is_open():
                self._reply.end()

    def say_goodbye(self) -> None:
        """Tell both ends that we are going away (close code 1001), where we may."""
        if not self._is_open():
            return
        if self._from_upstream.takes_ours:
            self._reply.write(b"\x88\x02" + _GOING_AWAY)
        if self._from_caller.takes_ours and self._connection is not None:
            mask = os.urandom(4)
            masked = bytes(b ^ m for b, m in zip(_GOING_AWAY, mask, strict=False))
            self._connection.write(b"\x88\x82" + mask + masked)

    def _is_open(self) -> bool:
        return self.head is not None and self.head.status == 101

    # -- sink ---------------------------------------------------------------------

    def on_head(self, head: ReplyHead) -> None:
        self.head = head
        fields = self._fields_for(head)
        connection = self._connection
        assert connection is not None
        if head.status != 101:
            self._reply.feed_from(connection)
            self._reply.start(head.status, fields, head.length)
            return
        caller = self._reply.upgrade(fields, _CallerSide(self))
        connection.enter_tunnel(_UpstreamSide(self), caller)
        self._reply.feed_from(connection)

    def on_whole(self, head: ReplyHead, body: bytes) -> None:
        self.on_head(head.sized(len(body)))
        self.on_data(body)
        self.on_end(())

    def on_data(self, data: bytes) -> None:
        self._reply.write(data)

    def on_end(self, trailers: tuple[Pair, ...], last: bytes = b"") -> None:
        self._connection = None  # the pool's again
        assert self.head is not None
        self._reply.end(trailers_for_caller(trailers, self.head), last)
        self.finish()

    def on_failed(self, error: UpstreamFailed) -> None:
        self.finish(error)

    # -- tunnel -------------------------------------------------------------------

    def to_upstream(self, data: bytes) -> None:
        self.bytes_in += len(data)
        self._from_caller.feed(data)
        if self._connection is not None:
            self._connection.write(data)

    def to_caller(self, data: bytes) -> None:
        self.bytes_out += len(data)
        self._from_upstream.feed(data)
        self._reply.write(data)

    def finish(self, error: UpstreamFailed | None = None) -> None:
        if self._ended is None or self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    def tick(self, now: float) -> None:
        if not self._is_open():
            if now - self._began_at > self._first_byte_s:
                self.finish(
                    TimedOut("it did not answer the upgrade in time", Phase.FIRST_BYTE)
                )
            return
        seen = (self.bytes_in, self.bytes_out)
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        if now - self._seen_at > IDLE_S or now - self._began_at > LIFETIME_S:
            self.say_goodbye()
            self.finish()


class _CallerSide:
    """The caller's end: what it sends goes upstream."""

    def __init__(self, transfer: WebSocketTransfer) -> None:
        self._transfer = transfer

    def received(self, data: bytes) -> None:
        self._transfer.to_upstream(data)

    def closed(self) -> None:
        self._transfer.finish()


class _UpstreamSide:
    """The upstream's end: what it sends goes to the caller."""

    def __init__(self, transfer: WebSocketTransfer) -> None:
        self._transfer = transfer

    def received(self, data: bytes) -> None:
        self._transfer.to_caller(data)

    def closed(self) -> None:
        self._transfer.finish()
