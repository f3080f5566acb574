"""One reply on its way from an upstream to the caller, with its deadlines.

A Transfer is the sink of one connection and the source of one `Reply`. When the
head comes it chooses a mode (`Plan.mode_for`), from then on bytes flow through
it without a task or future per chunk. Deadlines are looked at by the ticker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from proxy.core import clock
from proxy.core.call import Reply
from proxy.core.tasks import beside
from proxy.core.types import Pair
from proxy.relay.client import Client, Outgoing, pump
from proxy.relay.connection import Connection
from proxy.relay.errors import (
    BrokenReply,
    CallerStalled,
    Phase,
    StaleConnection,
    TimedOut,
    UpstreamFailed,
)
from proxy.relay.head import ReplyHead
from proxy.relay.headers import trailers_for_caller
from proxy.relay.modes import Mode
from proxy.relay.origin import Origin


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds; `whole_s` None for what may stream without end."""

    connect_s: float
    write_s: float
    first_byte_s: float
    idle_s: float
    whole_s: float | None


@dataclass(slots=True)
class Moved:
    """A reply that came whole. `body` is None where it has gone to the caller."""

    head: ReplyHead
    body: bytes | None
    trailers: tuple[Pair, ...]


class Transfer:
    """`sent_at`, `head_at`, `first_byte_at` are set as they happen (monotonic).

    `body_began` tells that the caller may have seen bytes of this reply.
    """

    def __init__(
        self,
        reply: Reply,
        limits: Limits,
        mode_for: Callable[[ReplyHead], Mode],
        ticker: clock.Ticker,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._reply = reply
        self._limits = limits
        self._mode_for = mode_for
        self._ticker = ticker
        self._now = now
        self._connection: Connection | None = None
        self._mode: Mode | None = None
        self._ended: asyncio.Future[None] | None = None
        self._trailers: tuple[Pair, ...] = ()
        self._progress: tuple[int, int] = (0, 0)
        self._progress_at = 0.0
        self._pumping = False
        self.head: ReplyHead | None = None
        self.sent_at: float | None = None
        self.head_at: float | None = None
        self.first_byte_at: float | None = None

    @property
    def body_began(self) -> bool:
        return self.first_byte_at is not None

    async def run(self, client: Client, origin: Origin, out: Outgoing) -> Moved:
        """Send the request, relay the reply; returns when it has ended well.

        Raises UpstreamFailed in any of its forms, CallerStalled, and what reading
        the caller's body raises. Cancelled or failed, the connection is closed.
        """
        connection = client.take(origin)
        try:
            if connection is not None:
                try:
                    await self._exchange(client, connection, origin, out)
                except StaleConnection:
                    if not isinstance(out.body, bytes):
                        raise
                    connection = None
            if connection is None:
                connection = await client.connect(origin, self._limits.connect_s)
                await self._exchange(client, connection, origin, out)
        finally:
            mode, self._mode = self._mode, None  # who made it holds us: no cycle stays
        assert self.head is not None and mode is not None
        return Moved(self.head, mode.body, self._trailers)

    async def _exchange(
        self, client: Client, connection: Connection, origin: Origin, out: Outgoing
    ) -> None:
        self._connection = connection
        self._ended = asyncio.get_running_loop().create_future()
        self.sent_at = self._progress_at = self._now()
        self._ticker.add(self)
        try:
            self._pumping = client.send(connection, origin, out, self)
            if self._pumping:
                await beside(self._ended, self._pump(connection, out))
            else:
                await self._ended
        finally:
            connection.drop(self)
            self._ticker.discard(self)
            self._reply.feed_from(None)
            self._connection = None

    async def _pump(self, connection: Connection, out: Outgoing) -> None:
        try:
            await pump(connection, out)
        except ConnectionResetError:
            return  # the reply, or its absence, tells why
        finally:
            self._pumping = False
            self._progress_at = self._now()

    # -- source of the reply --------------------------------------------------

    def pause(self) -> None:
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        if self._connection is not None:
            self._progress_at = self._now()
            self._connection.resume()

    # -- sink of the connection -------------------------------------------------

    def on_head(self, head: ReplyHead) -> None:
        self.head = head
        self.head_at = self._now()
        if head.status == 101:
            raise BrokenReply("it switched protocols unasked", Phase.FIRST_BYTE)
        self._mode = self._mode_for(head)
        self._reply.feed_from(self)

    def on_data(self, data: bytes) -> None:
        """Take the first bytes; all further ones go straight to the mode."""
        assert self._mode is not None and self._connection is not None
        self.first_byte_at = self._now()
        self._connection.deliver_to(self._mode.data)
        self._mode.data(data)

    def on_end(self, trailers: tuple[Pair, ...]) -> None:
        assert self._mode is not None and self.head is not None
        self._connection = None
        self._trailers = trailers = trailers_for_caller(trailers, self.head)
        try:
            self._mode.end(trailers)
        except UpstreamFailed as error:
            self._finish(error)
        else:
            self._finish(None)

    def on_failed(self, error: UpstreamFailed) -> None:
        mode = self._mode
        if mode is not None and mode.ends_well_if_lost():
            self._reply.end()
            self._finish(None)
        else:
            self._finish(error)

    def _finish(self, error: Exception | None) -> None:
        ended = self._ended
        if ended is None or ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    # -- deadlines ----------------------------------------------------------------

    def tick(self, now: float) -> None:
        connection = self._connection
        if connection is not None and (error := self._overdue(connection, now)):
            connection.drop(self)
            self._finish(error)

    def _overdue(self, connection: Connection, now: float) -> Exception | None:
        limits = self._limits
        assert self.sent_at is not None
        unsent = connection.unsent_bytes()
        received = self._mode.received if self._mode is not None else 0
        progress = (received, unsent)
        if progress != self._progress or (unsent == 0 and self._pumping):
            self._progress, self._progress_at = progress, now
        waited = now - self._progress_at
        if unsent and self.head is None:
            if waited > limits.write_s:
                return TimedOut("it did not take the request in time", Phase.WRITE)
        elif self._reply.paused:
            if waited > limits.idle_s:
                return CallerStalled()
        elif not received:
            if waited > limits.first_byte_s:
                return TimedOut("it did not begin to answer in time", Phase.FIRST_BYTE)
        elif waited > limits.idle_s:
            return TimedOut("its reply paused for too long", Phase.IDLE)
        if limits.whole_s is not None and now - self.sent_at > limits.whole_s:
            return TimedOut("it did not finish its answer in time", Phase.WHOLE)
        return None
