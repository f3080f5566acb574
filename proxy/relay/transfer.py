"""One reply on its way from an upstream to the caller, with its deadlines.

A Transfer is the sink of one connection and the source of one `Reply`. When the
head comes a mode is chosen (`mode_for`), from then on bytes flow through it without
a task or future per chunk. Deadlines are looked at by the ticker.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from proxy.core import clock
from proxy.core.call import Reply
from proxy.core.run import Signal, in_task
from proxy.core.tasks import create
from proxy.core.types import Pair
from proxy.relay.client import Client, Outgoing, pump
from proxy.relay.connection import Connection, Sink
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
from proxy.relay.modes import Events, Mode
from proxy.relay.origin import Origin

STALE_WITHIN_S: Final = 2.0
"""A kept connection that was closed before it was used tells so within a round trip.
Who closes later was at work, perhaps loading a model, which would begin anew."""

_NO_PROGRESS: Final = (0, 0)


class Limits(Struct, frozen=True):
    """Seconds; `whole_s` None for what may stream without end."""

    connect_s: float
    write_s: float
    first_byte_s: float
    idle_s: float
    whole_s: float | None


class Transfer(ABC):
    """One request's way there and back; who knows what is asked says how the reply
    is treated (`mode_for`).

    `sent_at`, `head_at`, `first_byte_at` are set as they happen (monotonic).

    `body_began` tells that the caller may have seen bytes of this reply; `trailers`
    are there at its end.
    """

    __slots__ = (
        "_connection",
        "_ended",
        "_limits",
        "_mode",
        "_now",
        "_progress",
        "_progress_at",
        "_pumping",
        "_reply",
        "_ticker",
        "first_byte_at",
        "head",
        "head_at",
        "sent_at",
        "trailers",
    )

    def __init__(
        self,
        reply: Reply,
        limits: Limits,
        ticker: clock.Ticker,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._reply = reply
        self._limits = limits
        self._ticker = ticker
        self._now = now
        self._connection: Connection | None = None
        self._mode: Mode | None = None
        self._ended = Signal()
        self._progress = _NO_PROGRESS
        self._progress_at = 0.0
        self._pumping = False
        self.trailers: tuple[Pair, ...] = ()
        self.head: ReplyHead | None = None
        self.sent_at: float | None = None
        self.head_at: float | None = None
        self.first_byte_at: float | None = None

    @property
    def body_began(self) -> bool:
        return self.first_byte_at is not None

    @abstractmethod
    def mode_for(self, head: ReplyHead) -> Mode:
        """Choose how the reply is treated. Raises UpstreamFailed."""

    async def run(
        self,
        client: Client,
        origin: Origin,
        out: Outgoing,
        sent: Connection | None = None,
    ) -> bytes | None:
        """Send the request, relay the reply; returns when it has ended well.

        `sent` is the kept connection on which it is already (`take_over`).

        Answers the body, or None where it has gone to the caller. Raises
        UpstreamFailed in any of its forms, CallerStalled, and what reading the
        caller's body raises. Cancelled or failed, the connection is closed.
        """
        taken = sent or client.take(origin)
        try:
            while True:
                connection = taken or await self._connect(client, origin)
                try:
                    if sent is not None:
                        sent = None
                        await self._ended
                        break
                    self._begin(connection)
                    if client.send(connection, origin, out, self):
                        await self._pump(connection, out)
                    else:
                        await self._ended
                    break
                except StaleConnection:
                    is_fixed = isinstance(out.body, bytes)
                    if taken is None or not is_fixed or self._was_at_work():
                        raise
                    taken, self._ended = None, Signal()
                finally:
                    self._leave(connection)
            assert self._mode is not None
            return self._mode.body
        finally:
            self._mode = None  # it may hold us: no cycle stays

    def _was_at_work(self) -> bool:
        return self.sent_at is None or self._now() - self.sent_at > STALE_WITHIN_S

    def take_over(self, connection: Connection, sent_at: float, from_: Sink) -> None:
        """Be the sink of a request that is on its way already, in place of another."""
        self.sent_at = self._progress_at = sent_at
        if connection.change_sink(from_, self):
            self._connection = connection
            self._ticker.add(self)

    async def _connect(self, client: Client, origin: Origin) -> Connection:
        await in_task()
        return await client.connect(origin, self._limits.connect_s)

    def _begin(self, connection: Connection) -> None:
        self._connection = connection
        self.sent_at = self._progress_at = self._now()
        self._ticker.add(self)

    def _leave(self, connection: Connection) -> None:
        self._ticker.discard(self)
        if self._connection is None:
            return  # it has ended, and is another's already
        connection.drop(self)
        self._connection = None
        self._reply.feed_from(None)

    async def _pump(self, connection: Connection, out: Outgoing) -> None:
        """Send the body beside the reply, which may come before all is sent."""
        self._pumping = True
        await in_task()
        sending = create(self._send_body(connection, out))
        try:
            await self._ended
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_body(self, connection: Connection, out: Outgoing) -> None:
        try:
            await pump(connection, out)
        except ConnectionResetError:
            return  # the reply, or its absence, tells why
        except Exception as error:
            self._ended.give(error)
        finally:
            self._pumping = False
            self._progress_at = self._now()

    def bound(self, whole_s: float) -> None:
        """Give a reply that is no stream, after all, its time for the whole."""
        if self._limits.whole_s is None:
            self._limits = replace(self._limits, whole_s=whole_s)

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
        self._mode = self.mode_for(head)
        self._reply.feed_from(self)

    def on_whole(self, head: ReplyHead, body: bytes) -> None:
        self._connection = None
        if head.length != len(body):
            head = head.sized(len(body))
        self.head = head
        self.head_at = now = self._now()
        if body:
            self.first_byte_at = now
        try:
            self._mode = mode = self.mode_for(head)
            mode.whole(body)
        except Exception as error:
            self._ended.give(error)
        else:
            self._ended.give()

    def on_data(self, data: bytes) -> None:
        """Take the first bytes; all further ones go straight to the mode."""
        mode = self._mode
        assert mode is not None and self._connection is not None
        self.first_byte_at = self._now()
        lane = mode.lane() if isinstance(mode, Events) else None
        self._connection.deliver_to(mode.data, lane)
        mode.data(data)

    def on_end(self, trailers: tuple[Pair, ...], last: bytes = b"") -> None:
        assert self._mode is not None and self.head is not None
        self._connection = None
        self._reply.feed_from(None)
        if trailers:
            self.trailers = trailers = trailers_for_caller(trailers, self.head)
        try:
            self._mode.end(trailers, last)
        except UpstreamFailed as error:
            self._ended.give(error)
        else:
            self._ended.give()

    def on_failed(self, error: UpstreamFailed) -> None:
        mode = self._mode
        if mode is not None and mode.ends_well_if_lost():
            self._reply.end()
            self._ended.give()
        else:
            self._ended.give(error)

    # -- deadlines ----------------------------------------------------------------

    def tick(self, now: float) -> None:
        connection = self._connection
        if connection is None or (error := self._overdue(connection, now)) is None:
            return
        connection.drop(self)
        if isinstance(error, UpstreamFailed):
            self.on_failed(error)
        else:
            self._ended.give(error)

    def _overdue(self, connection: Connection, now: float) -> Exception | None:
        limits = self._limits
        assert self.sent_at is not None
        unsent = connection.unsent_bytes()
        received = self._mode.progress if self._mode is not None else 0
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
