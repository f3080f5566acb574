"""The fast door: complete ordinary POSTs to hot rows, taken before aiohttp.

aiohttp's parser, Request, task and Response cost 100 µs a request; this costs a
tenth (bench: CPU per request). Anything unusual is handed to aiohttp, bytes
untouched, and that connection stays with it. Both doors build the same Call and
Reply and run the same pipeline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, cast

from aiohttp import web
from aiohttp.tcp_helpers import tcp_keepalive
from msgspec import Struct

from proxy.core import clock
from proxy.core.call import Call, Reply
from proxy.core.ids import Ids
from proxy.core.outbox import Outbox
from proxy.core.pieces import Pieces
from proxy.core.run import Run
from proxy.core.tasks import create
from proxy.observability.counts import Tally
from proxy.pipeline.express import MOST_BYTES, Express, Trip
from proxy.server.buffered import LateBody, LeftBody, WholeBody
from proxy.server.handler import Handler, Manners
from proxy.server.head import HEAD_LIMIT, HeadReader, HotHead
from proxy.server.reply import JOIN_BELOW, TransportReply


class Serving(Protocol):
    """What serves by the configuration of now."""

    express: Express


class Closing(Protocol):
    """Tells whether replies that begin from now on close their connection."""

    closing: bool


class FastDoor(Struct, frozen=True):
    """What all connections of the door share.

    `taken` counts the requests that it takes, `count` answers where others are
    counted, and why.
    """

    reader: HeadReader
    now: Serving
    run: Callable[[Call, Reply, Callable[[], object]], Coroutine[Any, Any, None]]
    taken: Tally
    count: Callable[[bool, str], Tally]
    ids: Ids
    max_body_bytes: int
    body_idle_s: float
    front: Closing
    outbox: Outbox


class FastHandler(Handler):
    """One caller's connection, at the fast door until it does something unusual."""

    __slots__ = (
        "_body_timer",
        "_data_at",
        "_door",
        "_going_on",
        "_last",
        "_left_to_aiohttp",
        "_pending",
        "_pieces",
        "_run",
    )

    def __init__(
        self,
        manager: web.Server,
        options: Mapping[str, Any],
        manners: Manners,
        door: FastDoor,
    ) -> None:
        super().__init__(manager, options, manners)
        self._door = door
        # The same caller sends the same head again and again.
        self._last: HotHead | None = None
        self._left_to_aiohttp = False
        self._run: Run | Trip | None = None
        self._pending: tuple[HotHead, int] | None = None
        # An unfinished head; once `_pending`, its body so far; during a call, and
        # while its reply is not read, what the caller already sends behind it.
        self._pieces = Pieces()
        self._going_on = False
        self._body_timer: asyncio.TimerHandle | None = None
        self._data_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # As aiohttp's, but for two things that are a quarter of what a connection costs
        # from its opening to its end: its task, which begins once something is left to
        # it, and TCP_NODELAY, which event loops set themselves.
        manager = self._manager
        assert manager is not None
        self.transport = wire = cast(asyncio.Transport, transport)
        tcp_keepalive(wire)
        manager.connection_made(self, wire)
        loop, delay_s = self._loop, self._keepalive_timeout
        self._waiter = loop.create_future()  # by this aiohttp knows who is idle
        if delay_s > 0:
            self._next_keepalive_close_time = at = loop.time() + delay_s
            self._keepalive_handle = loop.call_at(at, self._process_keepalive)
        self._note_peer(transport)

    def data_received(self, data: bytes) -> None:
        if self._left_to_aiohttp:
            super().data_received(data)
        elif self._run is not None or self._paused:
            self._keep(data)
            # A caller that sends on, and does not wait or does not read, is held back.
            if self._pieces.size > HEAD_LIMIT and not self._buffer_paused:
                self._pause_reading_for_buffer()
        elif self._pending is not None:
            self._keep(data)
            self._continue(self._pending)
        elif self._pieces.size:
            self._keep(data)
            self._consider(self._pieces.take())
        else:
            self._consider(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm_body()
        run, pending = self._run, self._pending
        super().connection_lost(exc)
        if pending is not None:
            self._pending = None
            late = LeftBody(pending[1], self._pieces.size)
            self._serve(pending[0], late, self._door.ids.next())
        elif run is not None:
            run.cancel()
        self._pieces.take()

    def eof_received(self) -> None:
        super().eof_received()
        run = self._run
        if self.reply is not None or run is None or self.transport is None:
            return
        if not (isinstance(run, Trip) and run.is_over):
            self.transport.abort()

    def _consider(self, data: bytes) -> None:
        """Take a request off what came, or keep it for more, or leave it."""
        last = self._last
        if last is not None and last.known is not None:
            at = last.known.body_at(data)
            if at and len(data) - at <= self._door.max_body_bytes:
                if self._head_timer is not None:
                    self._disarm()
                self._take(last, data[at:])
                return
        reader = self._door.reader
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            if not reader.may_begin(data):
                self._leave(data, reader.reason)
            elif len(data) > HEAD_LIMIT:
                self._leave(data, "size")
            else:
                self._keep(data)
                self._arm()
            return
        found = reader.read(data[:end])
        if found is None or found[1] > self._door.max_body_bytes:
            self._leave(data, reader.reason if found is None else "size")
            return
        self._last = found[0]
        if self._head_timer is not None:
            self._disarm()
        if len(data) == end + found[1]:
            self._take(found[0], data[end:])
        else:
            self._pending = found
            self._keep(data[end:])
            self._continue(found)

    def _continue(self, pending: tuple[HotHead, int]) -> None:
        """Serve the pending request if its body is complete."""
        head, length = pending
        if self._pieces.size < length:
            self._data_at = self._loop.time()
            self._arm_body(self._door.body_idle_s)
            return
        self._pending = None
        self._disarm_body()
        body = self._pieces.take()
        if len(body) > length:
            self._keep(body[length:])
            body = body[:length]
        self._take(head, body)

    def _keep(self, data: bytes) -> None:
        if data:
            self._pieces.add(data)

    def _leave(self, data: bytes, reason: str) -> None:
        """Give the connection to aiohttp for good."""
        self._door.count(False, reason).count += 1
        self._left_to_aiohttp = True
        self._disarm()
        self._waiter = None
        self._task_handler = create(self._attend())
        super().data_received(data)

    async def _attend(self) -> None:
        """Serve as aiohttp does, unless all were told meanwhile that we close."""
        if self._messages or not self._close:
            await self.start()

    def _take(self, head: HotHead, body: bytes) -> None:
        """Serve a request that is here."""
        door = self._door
        id_ = door.ids.next()
        if self.is_proxied:
            self.note_client(head.headers)
        if len(body) <= MOST_BYTES and not door.front.closing:
            trip = self._run = door.now.express.begin(self, head, body, id_)
            if trip is not None:
                door.taken.count += 1
                if trip.track.is_stream:  # what it needs is made while the model thinks
                    trip.join()
                return
        self._serve(head, WholeBody(body), id_)

    def _serve(
        self, head: HotHead, body: WholeBody | LateBody | LeftBody, id_: str
    ) -> None:
        door = self._door
        door.taken.count += 1
        call, reply, run = self._open(head, body, id_, clock.monotonic())
        run.begin(door.run(call, reply, run.cancel))

    def _open(
        self,
        head: HotHead,
        body: WholeBody | LateBody | LeftBody,
        id_: str,
        started_at: float,
    ) -> tuple[Call, TransportReply, Run]:
        """Make what a call needs that goes the whole way."""
        is_read = None if body.whole is not None else _no
        door = self._door
        keep_alive = not door.front.closing
        reply = TransportReply(self, 1, keep_alive, False, is_read, door.outbox)
        reply.keep_end()
        if self.transport is None:
            reply.lost()
        where = head.where
        call = Call(
            id_,
            head.client_id,
            where.operation,
            "POST",
            where.path,
            where.target,
            where.query,
            where.params,
            head.headers,
            self.peer,
            self.secure,
            body,
            started_at,
        )
        self.reply = reply
        self._run = run = Run(self._served)
        return call, reply, run

    # -- what a trip asks of its caller's connection ----------------------------------

    def give(self, block: bytes, body: bytes) -> None:
        """Answer with status 200 and go on."""
        self._run = None
        transport = self.transport
        if transport is None:
            return
        head = b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n" % (block, len(body))
        if len(body) < JOIN_BELOW:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        self._end()

    def join(self, trip: Trip) -> tuple[Call, Reply, Run]:
        """Make what it needs for the way of all others."""
        body = WholeBody(trip.members.body)
        return self._open(cast(HotHead, trip.head), body, trip.id, trip.started_at)

    # -- afterwards -------------------------------------------------------------------

    def _served(self, run: Run) -> None:
        """The call has ended."""
        reply = self.reply
        self._run = self.reply = None
        if self.transport is None or reply is None:
            return
        reply.release()
        if run.fault is not None or not reply.keep_alive or not reply.ended:
            self.transport.close()
            return
        self._end()

    def _end(self) -> None:
        """Go on with what was sent meanwhile."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if (self._pieces.size or self._buffer_paused) and not self._paused:
            self._go_on()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._run is None and not self._left_to_aiohttp:
            self._go_on()

    def _go_on(self) -> None:
        """Consider what was sent meanwhile."""
        if self._buffer_paused:
            self._resume_reading_for_buffer()
        # Served calls come back here at once: a loop, where they would pile up.
        if self._going_on:
            return
        self._going_on = True
        before = -1
        while self._pieces.size not in (0, before) and self._is_ready():
            before = self._pieces.size
            self._consider(self._pieces.take())
        self._going_on = False

    def _is_ready(self) -> bool:
        """Tell whether what comes next may begin a request."""
        busy = self._run or self._pending or self._left_to_aiohttp
        return not busy and not self._paused and self.transport is not None

    # -- clocks ---------------------------------------------------------------

    def _process_keepalive(self) -> None:
        busy = self._run or self._pending or self._pieces.size
        if busy and not self._left_to_aiohttp:
            self._next_keepalive_close_time = (
                self._loop.time() + self._keepalive_timeout
            )
        super()._process_keepalive()

    def _is_busy(self) -> bool:
        return self._run is not None or super()._is_busy()

    def _arm_body(self, delay_s: float) -> None:
        if self._body_timer is None:
            self._body_timer = self._loop.call_later(delay_s, self._body_is_late)

    def _disarm_body(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _body_is_late(self) -> None:
        self._body_timer = None
        pending = self._pending
        if pending is None:
            return
        left_s = self._data_at + self._door.body_idle_s - self._loop.time()
        if left_s > 0:
            self._arm_body(left_s)
        else:
            self._pending = None
            late = LateBody(pending[1], self._pieces.size)
            self._pieces.take()
            self._serve(pending[0], late, self._door.ids.next())


def _no() -> bool:
    return False
