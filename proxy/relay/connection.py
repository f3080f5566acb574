"""One keep-alive HTTP/1.1 connection to an upstream.

It writes a request, reads the reply's head and hands body bytes to its sink as
they arrive: no task, future or queue per chunk. It knows no deadline (transfer
has them) and no pool (it tells `on_free` when it can carry another request).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol, cast

from proxy.core.call import Pausable, Tunnel
from proxy.core.types import Pair
from proxy.relay.errors import BrokenReply, Phase, StaleConnection, UpstreamFailed
from proxy.relay.framing import Chunked, Decoder, decoder_for
from proxy.relay.head import HEAD_LIMIT, HeadReader, ReplyHead
from proxy.relay.lane import Lane


class Sink(Protocol):
    """Who a reply is for. `on_end`, `on_whole` or `on_failed` comes once and last.

    `on_whole` is a reply that came in one read, as most that are no streams do: it
    comes instead of all others, when the connection is free, and raises nothing. Its
    head's `length` may be another's: the body tells.
    """

    def on_head(self, head: ReplyHead) -> None: ...

    def on_whole(self, head: ReplyHead, body: bytes) -> None: ...

    def on_data(self, data: bytes) -> None: ...

    def on_end(self, trailers: tuple[Pair, ...], last: bytes = b"") -> None:
        """`last` is what of a stream in a lane came together with its end."""
        ...

    def on_failed(self, error: UpstreamFailed) -> None: ...


_BEGINNING: Final = b"HTTP/1."


class State(Enum):
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    TUNNEL = auto()
    CLOSED = auto()


# Bound once: to ask an Enum for a member costs what two calls cost.
_IDLE, _HEAD, _BODY, _TUNNEL, _CLOSED = State


class Connection(asyncio.Protocol):
    """`transport` is None before and after the connection's life."""

    __slots__ = (
        "_decoder",
        "_deliver",
        "_feeder",
        "_head",
        "_heads",
        "_held",
        "_lane",
        "_method",
        "_on_free",
        "_on_lost",
        "_paused",
        "_sending",
        "_sink",
        "_tunnel",
        "_writable",
        "idle_since",
        "state",
        "transport",
        "used",
    )

    def __init__(
        self,
        on_free: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
        heads: HeadReader,
    ) -> None:
        self._on_free = on_free
        self._on_lost = on_lost
        self._heads = heads
        self._sink: Sink | None = None
        self._deliver: Callable[[bytes], None] | None = None
        self._lane: Lane | None = None
        self._tunnel: Tunnel | None = None
        self._feeder: Pausable | None = None
        self._decoder: Decoder | None = None
        self._head: ReplyHead | None = None
        self._held = b""
        self._method = ""
        self._paused = False
        self._sending = False
        self._writable: asyncio.Future[None] | None = None
        self.state = _IDLE
        self.transport: asyncio.Transport | None = None
        self.used = False
        self.idle_since = 0.0

    # -- the exchange's side ------------------------------------------------

    def send(self, method: str, data: bytes, sink: Sink, *, more: bool = False) -> None:
        """Write a head, and the body as far as it is known; replies go to `sink`.

        With `more` the body continues by `send_body` until `sent`.
        """
        self._sink = sink
        self._deliver = sink.on_data
        self._method = method
        self._sending = more
        self.state = _HEAD
        assert self.transport is not None
        self.transport.write(data)

    def change_sink(self, old: Sink, new: Sink) -> bool:
        """Hand replies to `new` if they went to `old`; before a reply's head only."""
        if self._sink is not old:
            return False
        self._sink = new
        self._deliver = new.on_data
        return True

    def deliver_to(
        self, take: Callable[[bytes], None], lane: Lane | None = None
    ) -> None:
        """Hand this reply's further body bytes to `take` instead of the sink.

        Of a chunked reply a `lane` gets first what comes, and hands on what it leaves.
        """
        self._deliver = take
        transport = self.transport
        if lane and transport is not None and type(self._decoder) is Chunked:
            self._lane = lane
            lane.enter(self)
            transport.set_protocol(lane)

    async def send_body(self, data: bytes) -> None:
        """Write more of the body; waits while the upstream takes no more."""
        if self.transport is None:
            raise ConnectionResetError
        self.transport.write(data)
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def sent(self) -> None:
        """Say that the body is complete."""
        self._sending = False

    def unsent_bytes(self) -> int:
        """How much of the request the upstream has not yet taken."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def pause(self) -> None:
        if not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()

    def abort(self) -> None:
        """Close at once; the sink hears nothing more."""
        self._sink = self._deliver = self._tunnel = None
        if self._lane is not None:
            self._leave_lane()
        if self.transport is not None:
            self.transport.abort()

    def drop(self, sink: Sink) -> None:
        """Close at once if `sink` is still being served.

        Afterwards the connection is the pool's, and may already serve another.
        """
        if self._sink is sink:
            self.abort()

    def enter_tunnel(self, tunnel: Tunnel, feeder: Pausable) -> None:
        """After a 101: raw bytes from here on. What already came is handed over.

        `feeder` is who sends us bytes for the upstream, paused when it takes none.
        """
        self.state = _TUNNEL
        self._sink = None
        self._tunnel = tunnel
        self._feeder = feeder
        held, self._held = self._held, b""
        if held:
            tunnel.received(held)

    def write(self, data: bytes) -> None:
        """Write raw bytes into a tunnel."""
        if self.transport is not None:
            self.transport.write(data)

    # -- the event loop's side ----------------------------------------------

    @property
    def is_between(self) -> bool:
        """True where the very beginning of a chunk comes next."""
        return self._decoder is not None and self._decoder.between

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        # Shaped by speed (bench: CPU per chunk): the body comes first, and a read
        # that is one whole chunk takes the decoder's short way.
        try:
            decoder = self._decoder
            if decoder is not None:
                payload, deliver = decoder.feed(data), self._deliver
                if decoder.done and self._lane is not None:
                    self._finish(decoder, payload)
                    return
                if payload and deliver is not None:
                    deliver(payload)
                if decoder.done and self._sink is not None:
                    self._finish(decoder)
            elif self.state is _HEAD:
                self._read_head(data)
            elif self.state is _TUNNEL and self._tunnel is not None:
                self._tunnel.received(data)
            else:  # a server that talks unasked cannot be trusted with a request
                self.abort()
        except UpstreamFailed as error:
            self._fail(error)

    def eof_received(self) -> bool | None:
        return None  # the transport closes itself, connection_lost follows

    def pause_writing(self) -> None:
        if self._feeder is not None:
            self._feeder.pause()
        elif self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._feeder is not None:
            self._feeder.resume()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def connection_lost(self, exc: Exception | None) -> None:
        state, self.state = self.state, _CLOSED
        self.transport = None
        self.resume_writing()
        self._on_lost(self)
        sink, self._sink = self._sink, None
        self._deliver = None
        if self._lane is not None:
            self._leave_lane()
        if self._tunnel is not None:
            tunnel, self._tunnel = self._tunnel, None
            tunnel.closed()
        elif sink is not None:
            self._lost_with(sink, state, is_reset=exc is not None)

    def _lost_with(self, sink: Sink, state: State, *, is_reset: bool) -> None:
        decoder = self._decoder
        if decoder is not None and decoder.finish_at_close() and not is_reset:
            sink.on_end(())
        elif state is _HEAD and self.used:
            sink.on_failed(
                StaleConnection("it closed the connection", Phase.FIRST_BYTE)
            )
        elif state is _HEAD:
            sink.on_failed(
                BrokenReply("it closed the connection unanswered", Phase.FIRST_BYTE)
            )
        else:
            sink.on_failed(
                BrokenReply("it closed the connection mid-reply", Phase.IDLE)
            )

    def _read_head(self, data: bytes) -> None:
        self.used = False  # it answers: lost from here on, it was not stale
        sink, heads = self._sink, self._heads
        last = heads.last
        if last and sink is not None and not self._held and self._method != "HEAD":
            at = heads.again.body_at(data)
            if at:  # the most usual: the server's last head, and a whole body
                self._free(last, is_clean=True)
                sink.on_whole(last, data[at:])
                return
        if not self._held and 4 < (end := data.find(b"\r\n\r\n") + 4) <= HEAD_LIMIT:
            head = heads.read(data[:end], self._method)
            if head.status >= 200:
                self._begin(head, data[end:])
                return
        self._look_for_head(self._held + data)

    def _look_for_head(self, data: bytes) -> None:
        """Read on until a head that is no interim one, or keep what is there of it."""
        at = 0
        while True:
            end = data.find(b"\r\n\r\n", at, at + HEAD_LIMIT)
            if end < 0:
                self._held = held = data[at:]
                if not held.startswith(_BEGINNING[: len(held)]):
                    raise BrokenReply("it answered no HTTP/1.1", Phase.FIRST_BYTE)
                if len(held) >= HEAD_LIMIT:
                    raise BrokenReply("its header is too long", Phase.FIRST_BYTE)
                if held.count(b"\n") != held.count(b"\r\n"):  # its CR will never come
                    raise BrokenReply("its header has a bare LF", Phase.FIRST_BYTE)
                return
            head = self._heads.read(data[at : end + 4], self._method)
            at = end + 4
            if head.status == 101 or not 100 <= head.status < 200:
                break
        self._begin(head, data[at:])

    def _begin(self, head: ReplyHead, rest: bytes) -> None:
        sink = self._sink
        assert sink is not None
        length = head.length
        if length is not None and len(rest) >= length and head.status != 101:
            self._held = b""
            self._free(head, is_clean=len(rest) == length)
            sink.on_whole(head, rest if len(rest) == length else rest[:length])
            return
        self._head = head
        if head.status == 101:
            self._held = rest
            sink.on_head(head)
            return
        self._held = b""
        self.state = _BODY
        sink.on_head(head)
        if self._sink is None:
            return  # the sink had enough
        self._decoder = decoder_for(head)
        if rest:
            self.data_received(rest)

    def _finish(self, decoder: Decoder, last: bytes = b"") -> None:
        """The reply is complete: free the connection, then tell the sink."""
        sink, head = self._sink, self._head
        assert sink is not None and head is not None
        self._decoder = self._head = None
        self._free(head, is_clean=not decoder.rest)
        sink.on_end(decoder.trailers, last)

    def _free(self, head: ReplyHead, *, is_clean: bool) -> None:
        """Give the connection back, if it can carry another request."""
        self._sink = self._deliver = None
        if self._lane is not None:
            self._leave_lane()
        if self._paused:
            self.resume()
        transport = self.transport
        if transport is None:
            return
        # Nothing of the request may be left in the transport.
        if (
            is_clean
            and head.keep_alive
            and not self._sending
            and not transport.get_write_buffer_size()
        ):
            self.state = _IDLE
            self.used = True
            on_free = self._on_free
            on_free(self)
        else:
            self.state = _CLOSED
            transport.abort()

    def _leave_lane(self) -> None:
        assert self._lane is not None
        self._lane.shut()
        self._lane = None
        if self.transport is not None:
            self.transport.set_protocol(self)

    def _fail(self, error: UpstreamFailed) -> None:
        sink, self._sink = self._sink, None
        self.abort()
        if sink is not None:
            sink.on_failed(error)
