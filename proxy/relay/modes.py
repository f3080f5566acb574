"""The three ways a reply's body may take: gathered, passed on plainly, or by events.

A mode gets payload bytes and knows no connection and no deadline; transfer
chooses it when the head is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from providers.wire.hold import EventTooLarge, Hold
from providers.wire.ndjson import NDJSONHold
from providers.wire.watch import Watch
from proxy.core.call import Reply
from proxy.core.pieces import Pieces
from proxy.core.types import Pair
from proxy.relay.errors import BrokenReply, Phase
from proxy.relay.lane import Lane

WHOLE_LIMIT: Final = 8 << 20
REFUSAL_LIMIT: Final = 1 << 20
_BLANK: Final = b"\n\n"


class Mode(Protocol):
    """`body` is the gathered body; None once bytes have gone to the caller.

    `progress` is 0 before any of the body has come, and grows with all that comes.
    """

    body: bytes | None

    @property
    def progress(self) -> int: ...

    def data(self, data: bytes) -> None: ...

    def end(self, trailers: tuple[Pair, ...], last: bytes = b"") -> None:
        """Take the body's proper end, and the bytes that came with it. Raises BrokenReply
        when it is none.
        """
        ...

    def whole(self, data: bytes) -> None:
        """Take all of a body and its end; as `data` and `end`."""
        ...

    def ends_well_if_lost(self) -> bool:
        """Tell whether all that matters had come before the connection was lost."""
        ...


class Gathered:
    """Keeps a body until it is whole; past the limit it is passed on plainly.

    Without `overflow` what goes past the limit is left out.
    """

    def __init__(self, limit_bytes: int, overflow: Callable[[], Mode] | None) -> None:
        self._limit = limit_bytes
        self._overflow = overflow
        self._onward: Mode | None = None
        self._pieces = Pieces()
        self.body: bytes | None = b""
        self.progress = 0

    def data(self, data: bytes) -> None:
        self.progress += len(data)
        if self._onward is not None:
            self._onward.data(data)
            return
        if self._overflow is None:
            data = data[: self._limit - self._pieces.size]
        if not data:
            return
        self._pieces.add(data)
        if self._pieces.size > self._limit:
            self._spill()

    def end(self, trailers: tuple[Pair, ...], last: bytes = b"") -> None:
        if last:
            self.data(last)
        if self._onward is not None:
            self._onward.end(trailers)
        else:
            self.body = self._pieces.take()

    def whole(self, data: bytes) -> None:
        if len(data) <= self._limit:
            self.body, self.progress = data, len(data)
        else:
            self.end((), data)

    def ends_well_if_lost(self) -> bool:
        return False

    def _spill(self) -> None:
        assert self._overflow is not None
        self._onward, self.body = self._overflow(), None
        self._onward.data(self._pieces.take())


class Plain:
    """Passes bytes on as they come."""

    def __init__(self, reply: Reply) -> None:
        self.body: bytes | None = None
        self.progress = 0
        self._reply = reply

    def data(self, data: bytes) -> None:
        self.progress += len(data)
        self._reply.write(data)

    def end(self, trailers: tuple[Pair, ...], last: bytes = b"") -> None:
        self.progress += len(last)
        self._reply.end(trailers, last)

    def whole(self, data: bytes) -> None:
        self.end((), data)

    def ends_well_if_lost(self) -> bool:
        return False


class Events:
    """Passes on whole events; what is unfinished waits for its rest.

    So whatever the gateway itself has to say falls between two events. `events` counts
    those that have come.
    """

    __slots__ = (
        "_ends_openly",
        "_events",
        "_hold",
        "_lane",
        "_mark",
        "_marks",
        "_received",
        "_reply",
        "_see",
        "_terminates",
        "_watch",
        "_write",
        "body",
        "is_plain",
        "nothing_held",
    )

    def __init__(self, reply: Reply, hold: Hold, watch: Watch) -> None:
        self.body: bytes | None = None
        self._events = 0
        self._received = 0
        self._reply = reply
        self._write = reply.write
        self._hold = hold
        self._lane: Lane | None = None
        self.nothing_held = True
        self._see = watch.see
        self.is_plain = watch.is_plain
        self._watch = watch
        self._terminates = not watch.is_complete()  # else HTTP alone tells the end
        # An event of SSE is none before its blank line; a line of JSON needs no more.
        is_ndjson = isinstance(hold, NDJSONHold)
        self._ends_openly = not self._terminates or is_ndjson
        self._mark = b"\n" if is_ndjson else _BLANK
        self._marks = None if is_ndjson else watch.marks

    @property
    def events(self) -> int:
        return self._events + (self._lane.events if self._lane else 0)

    @property
    def progress(self) -> int:
        return self._received + self.events

    def lane(self) -> Lane | None:
        """Make the short way for what comes after; None where each event is looked at."""
        if self._marks is not None:
            self._lane = Lane(self, self._marks)
            self._reply.lend(self._lane)
        return self._lane

    def data(self, data: bytes) -> None:
        seen, write = self._seen(data), self._write
        if seen:
            write(seen)

    def _seen(self, data: bytes) -> bytes:
        """Take bytes; answer what of all there is the caller may see now."""
        # Most pieces are whole events (bench: CPU per chunk). What ends in a blank
        # line also ends a line of NDJSON.
        self._received += len(data)
        if not (self.nothing_held and data.endswith(b"\n\n")):
            data = self._whole_events(data)
        self._events += data.count(self._mark)
        return self._see(data) if data else b""

    def _whole_events(self, data: bytes) -> bytes:
        try:
            events = self._hold.feed(data)
        except EventTooLarge as error:
            raise BrokenReply(
                "one event of its stream is larger than stream.maxEventBytes",
                Phase.IDLE,
            ) from error
        self.nothing_held = not self._hold.tail_size
        return events

    def end(self, trailers: tuple[Pair, ...], last: bytes = b"") -> None:
        seen = self._seen(last) if last else b""
        rest = b""
        if self._ends_openly and not self.nothing_held:
            rest = self._see(self._hold.feed(_BLANK)).removesuffix(_BLANK)
        if not self._watch.is_complete():
            self._write(seen)
            raise BrokenReply("its stream ended before it was complete", Phase.IDLE)
        self._reply.end(trailers, seen + rest)

    def whole(self, data: bytes) -> None:
        self.end((), data)

    def ends_well_if_lost(self) -> bool:
        return self._terminates and self._watch.is_complete()
