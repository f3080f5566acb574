"""The usual request, on one page: sent at once, answered at once, without a coroutine.

Most of what becomes of a request follows from its head, its shape and the catalogue,
and the same follows again and again. When a request has gone the whole way and was
answered well, a `Track` remembers what followed (tracks.py). One of the same kind that
finds its track, a free slot and a kept connection is a `Trip`: it is sent from here,
and an answer that is whole and good is given from here (bench: CPU per request).

Whatever else happens (a stream, an error, a long wait, somebody leaves or stops us),
the trip joins the way of all others, `Pipeline.run`, at the place where it has come
to. So nothing is decided here that is not decided there; here it is only remembered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import msgspec

from providers.wire.counts import openai_usage_in
from providers.wire.members import MalformedJSON, Members, read_members
from proxy.core import clock
from proxy.core.call import Body, Call, Reply
from proxy.core.errors import GatewayError
from proxy.core.run import Run
from proxy.core.types import ANYONE, Headers, Pair, Principal, Record
from proxy.pipeline.allowance import Reservation
from proxy.pipeline.carry import Ride
from proxy.pipeline.desk import Desk
from proxy.pipeline.end_user import end_user
from proxy.pipeline.heads import usual_block
from proxy.pipeline.kind import kind_of
from proxy.pipeline.model import LET_GO, Shape, shape_key
from proxy.pipeline.passage import Passages
from proxy.pipeline.passing import Passing
from proxy.pipeline.tracks import Track
from proxy.pipeline.usage import FREE, cost_line, note_usage
from proxy.relay.client import write
from proxy.relay.connection import Connection
from proxy.relay.errors import UpstreamFailed
from proxy.relay.head import ReplyHead
from proxy.relay.headers import block_for_caller
from proxy.relay.modes import WHOLE_LIMIT
from proxy.routing.dispatch import Dispatch
from proxy.routing.slots import Lease

_log: Final = logging.getLogger("local_ai.pipeline")
_FIELDS: Final = "a whole answer's"  # by what a head remembers what the caller is told

JOIN_S: Final = 1.0
"""A trip that takes longer joins the others: there are the deadlines, and what is
said while nothing comes."""


MOST_BYTES: Final = 256 << 10
"""A larger body is not brought here, lest it be read twice: it is long under way."""


class Where(Protocol):
    """A request line of a hot row."""

    @property
    def operation(self) -> str: ...

    @property
    def path(self) -> str: ...


class Head(Protocol):
    """A request's head as the fast door has it, remembered with what follows."""

    @property
    def where(self) -> Where: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def client_id(self) -> str | None: ...


class Wire(Protocol):
    """The caller's connection."""

    peer: str

    def give(self, block: bytes, body: bytes) -> None:
        """Answer with status 200, and go on to what is asked next."""
        ...

    def join(self, trip: Trip) -> tuple[Call, Reply, Run]:
        """Make what a call on the way of all others needs."""
        ...


class Express:
    """Begins trips. `join` takes one over that cannot end as such."""

    def __init__(
        self,
        passages: Passages,
        dispatch: Dispatch,
        desk: Desk,
        ticker: clock.Ticker,
        join: Callable[[Trip], Ride],
    ) -> None:
        self._catalog = passages.catalog
        self.dispatch: Final = dispatch
        self._access = passages.access
        self._authenticator = passages.authenticator
        self._allowance = passages.allowance
        self.desk = desk
        self._ticker = ticker
        self._join = join
        self.under_way: Final[set[Trip]] = set()
        self.closed = False

    def begin(self, wire: Wire, head: Head, body: bytes, id_: str) -> Trip | None:
        """Send a request if it is a usual one; None: it goes the whole way."""
        started_at = clock.monotonic()
        try:
            members = read_members(body)
        except MalformedJSON:
            return None
        track = self._track(head, members)
        if track is None or len(body) > track.ample_bytes:
            return None
        if track.edits is not None:
            body = members.edited(track.edits)
        pool, dispatch, under_way = track.pool, self.dispatch, self.under_way
        connection = pool.take()
        if connection is None:
            return None
        lease = dispatch.lease_if_all_is_well(track.candidate)
        if lease is None:
            pool.put_back(connection)
            return None
        reservation, allowance, toll = None, self._allowance, track.toll
        lines: str | None = ""
        if toll is not None and track.terms is allowance.terms:
            lines = toll.pay()
        elif allowance.is_on or track.principal.is_limited:
            passing = Passing(track.model, members, head.where.operation)
            reservation = self._reserved(track.principal, wire.peer, passing)
            lines = None if reservation is None else reservation.lines
        if lines is None:
            pool.put_back(connection)
            lease.release()
            return None
        dispatch.retries.requests[track.provider_id] += 1
        trip = Trip(
            self,
            wire,
            head,
            members,
            track,
            id_,
            lease,
            connection,
            reservation,
            lines,
            body,
            started_at,
            lease.taken_at,
        )
        if not under_way:
            self._ticker.add(self)
        under_way.add(trip)
        write(connection, "POST", track.lines, body, trip)
        return trip

    def _track(self, head: Head, members: Members) -> Track | None:
        """Find the track of a request that is let in; None: who refuses it is asked."""
        memo, principal = head.headers.memo, ANYONE
        if self.closed or memo.get(self._access) != ():
            return None
        if self._authenticator is not None:
            try:
                known = self._authenticator.try_authenticate(head.headers)
            except GatewayError:
                return None
            if known is None:
                return None
            principal = known
        shape: Shape | None = memo.get(shape_key(head.where.operation, members))
        track = None if shape is None else shape.track
        if track is None or track.principal is not principal:
            return None
        catalog = self._catalog
        return track if track.catalog is catalog() else None

    def tick(self, now: float) -> None:
        """Let those join that take long."""
        for trip in tuple(self.under_way):
            if now - trip.sent_at >= JOIN_S:
                self.take_over(trip)
        if not self.under_way:
            self._ticker.discard(self)

    def take_over(self, trip: Trip) -> Ride:
        """Let a trip go on as all others do."""
        self.under_way.discard(trip)
        return self._join(trip)

    def _reserved(
        self, principal: Principal, peer: str, asked: Passing
    ) -> Reservation | None:
        """Answer what limits grant; None: all that is more, or none, goes the whole way."""
        allowance = self._allowance
        try:
            if allowance.has_budget(principal):
                return None
            return allowance.try_reserve(principal, peer, asked.operation, asked)
        except GatewayError:
            return None
        except Exception:
            _log.exception("a limit could not be asked")
            return None


class Trip(msgspec.Struct, eq=False):
    """A request that has been sent: sink of the connection, and nothing more.

    (A Struct is built in C.)
    """

    express: Express
    wire: Wire
    head: Head
    members: Members
    track: Track
    id: str
    lease: Lease
    connection: Connection
    reservation: Reservation | None
    lines: str
    sent: bytes
    started_at: float
    sent_at: float

    def __repr__(self) -> str:
        return f"Trip({self.id})"  # the rest holds keys and what somebody asked

    # -- sink of the connection -----------------------------------------------------

    def on_whole(self, head: ReplyHead, body: bytes) -> None:
        # Written in one for speed, and what is remembered is asked for without a call
        # (bench: CPU per request).
        head_at, memo, size = clock.monotonic(), head.memo, len(body)
        track, started_at, sent_at = self.track, self.started_at, self.sent_at
        order, record, overhead_s = track.order, None, sent_at - started_at
        fields, usage = b"", None
        try:
            fields = memo.get(_FIELDS) or _fields_of(head)
            if fields and size <= WHOLE_LIMIT:
                usage = openai_usage_in(body)
            if usage is not None:
                # What the way of all others would have written down of a good answer.
                record = track.record.another()
                record.id = self.id
                record.started_at = started_at
                record.peer = self.wire.peer
                record.bytes_in = len(self.members.body)
                record.bytes_out = size
                record.overhead_s = overhead_s
                record.upstream_wait_s = head_at - sent_at
                record.first_byte_at = head_at
                if track.names_user:
                    record.end_user = end_user(self.members)
                note_usage(record, order, usage)
        except Exception:  # nothing is lost yet: the whole way sees what is odd
            _log.exception("request %s was not answered at once", self.id)
            record = None
        if record is None:
            self.join().on_whole(head, body)
            return
        express, lease = self.express, self.lease
        express.under_way.discard(self)
        lease.release()
        if express.dispatch.breaker.tracks or lease.candidate.provider.failures:
            express.dispatch.traffic.answered(lease.candidate)
        record.ended_at = now = clock.monotonic()
        if self.reservation is not None:
            self.reservation.settle(record)
        block = b"%b%b%b" % (
            FREE if record.cost_usd == 0.0 else cost_line(record),
            fields,
            usual_block(record, order, overhead_s + now - head_at, self.lines),
        )
        express.desk.report(record, partial(self.wire.give, block, body))

    def on_head(self, head: ReplyHead) -> None:
        self.join().on_head(head)

    def on_data(self, data: bytes) -> None:
        raise AssertionError("the head comes first, and ends the trip")

    def on_end(self, trailers: tuple[Pair, ...], last: bytes = b"") -> None:
        raise AssertionError("the head comes first, and ends the trip")

    def on_failed(self, error: UpstreamFailed) -> None:
        self.join().on_failed(error)

    # -- who else may end it --------------------------------------------------------

    def join(self) -> Ride:
        """Go on as all others do."""
        return self.express.take_over(self)

    @property
    def is_over(self) -> bool:
        """True once it has been answered, though the reply may not have left yet, or goes on
        as all others do.
        """
        return self not in self.express.under_way

    def cancel(self) -> None:
        """The caller has gone; of one that has been answered all is recorded already."""
        if not self.is_over:
            self.join().course.leave()

    def let_go(self, body: Body) -> None:
        """Keep no prompt for as long as its answer streams: neither ours nor the call's."""
        body.whole, self.members, self.sent = None, LET_GO, b""

    def interrupt(self, error: GatewayError) -> None:
        """The gateway ends the call."""
        self.join().course.interrupt(error)

    def record(self) -> Record:
        """The record of one that joins: what becomes of it is not known yet."""
        track = self.track
        record = track.record.another()
        record.id, record.peer = self.id, self.wire.peer
        record.started_at = self.started_at
        record.status, record.attempts, record.memo = 0, [], None
        if track.names_user:
            record.end_user = end_user(self.members)
        return record


def _fields_of(head: ReplyHead) -> bytes:
    """What the caller is told of the head of a whole answer; nothing of another's."""
    if not kind_of(head).is_answer:
        return b""
    fields = head.memo[_FIELDS] = block_for_caller(head)
    return fields
