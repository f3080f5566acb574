"""What stream readers and writers of all dialects have in common.

A reader takes bytes, cut anywhere, and gives events; a writer takes events and gives
whole events of its wire. Neither invents an end: a reader that saw no terminator
gives Failed, a writer closes on End alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

import orjson
from msgspec import Struct

from providers.wire.dialect import Framing
from providers.wire.envelopes import Problem
from providers.wire.holds import hold_for
from providers.wire.ndjson import lines
from providers.wire.sse import data_of, split_events
from providers.wire.translate.events import End, Event, Failed, Start, check
from providers.wire.translate.fields import load
from providers.wire.translate.request import Request
from providers.wire.translate.sequence import Sequence

LIMIT_BYTES: Final = 8 << 20
# What reading raises where a server puts one kind of value for another. To check each
# would cost more than all the rest.
_ODD_SHAPE: Final = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class Context(Struct, frozen=True):
    """What a reply's writer must know that no event tells.

    `id` makes the ids a dialect demands (unique per request, no prefix); `created`
    is Unix seconds; `model` stands where the upstream names none. `include_usage`
    matters to chat streams. `prompt_tokens` is what the caller's prompt is thought to
    cost, for a dialect that tells before the upstream does; `elapsed_ns` counts from
    the request's arrival, for one that tells durations. `request` is what the
    caller asked.
    """

    id: str
    created: int
    model: str = ""
    include_usage: bool = True
    prompt_tokens: int | None = None
    elapsed_ns: Callable[[], int] | None = None
    request: Request | None = None


class StreamReader(ABC):
    """Reads one stream. `made_id` begins the ids of tool calls that have none."""

    framing: ClassVar[Framing] = Framing.SSE

    def __init__(
        self,
        made_id: str = "",
        *,
        terminated: bool = True,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self.made_id = made_id
        self.ended = False
        self._terminated = terminated
        self._finished = False
        self._hold = hold_for(self.framing, limit_bytes)
        self._payloads = lines if self.framing is Framing.NDJSON else payloads
        self._out: list[Event] = []

    def feed(self, data: bytes) -> list[Event]:
        """Take what arrived; raises EventTooLarge."""
        block = self._hold.feed(data)
        if not block:
            return []
        out = self._out = []
        for payload in self._payloads(block):
            if self.ended:
                break
            self._see(payload)
        return out

    def close(self) -> list[Event]:
        """Take the end of the body; a stream without its terminator has failed."""
        out = self._out = []
        if self.ended:
            return out
        if not self._terminated and self._finished and not self._hold.tail_size:
            self._end()
        else:
            self._fail("the stream ended too early", code="upstream_stream_broken")
        return out

    def whole(self, body: bytes) -> list[Event]:
        """Take a whole reply instead of a stream, where its events look alike."""
        out = self._out = []
        self._see(body)
        if not out:
            self._fail("the reply is of an unknown shape")
        elif not self.ended:
            self._end()
        return out

    def _see(self, payload: bytes) -> None:
        try:
            found = orjson.loads(payload)
        except orjson.JSONDecodeError:
            found = self._load(payload)
            if found is None:
                return
        if isinstance(found, list) and len(found) == 1:
            found = found[0]  # Google wraps errors so
        if not isinstance(found, dict):
            return
        before = len(self._out)
        try:
            self._read(found)
            for event in self._out[before:]:
                check(event)
        except _ODD_SHAPE:
            del self._out[before:]
            self._fail("the reply has an event of an unknown shape")

    def _load(self, payload: bytes) -> Any:
        try:
            return load(payload)
        except ValueError:
            self._fail("the reply holds what is not JSON")
            return None

    @abstractmethod
    def _read(self, found: dict[str, Any]) -> None:
        """Append the events of one wire event to `_out`."""

    def _end(self) -> None:
        self.ended = True
        self._out.append(End())

    def _fail(
        self, message: str, *, code: str = "upstream_error", type_: str = "api_error"
    ) -> None:
        self.ended = True
        self._out.append(Failed(message, type_, code))

    def _give_up(self, failed: Failed) -> None:
        self.ended = True
        self._out.append(failed)


def payloads(block: bytes) -> list[bytes]:
    """Answer the data of whole SSE events, those without data left out.

    Ordinary events, one `data` line after at most one `event` line, are cut with
    `split` alone: a third of the cost of data_of.
    """
    if b"\r" in block:
        return [data for event in split_events(block) if (data := data_of(event))]
    found = []
    for event in block.split(b"\n\n"):
        if not event:
            continue
        at = event.find(b"\ndata: ")
        if at < 0 and event.startswith(b"data: ") and b"\n" not in event:
            found.append(event[6:])
        elif at > 0 and event.startswith(b"event: ") and event.count(b"\n") == 1:
            found.append(event[at + 7 :])
        elif data := data_of(event):
            found.append(data)
    return found


class StreamWriter(ABC):
    """Writes one stream. `sequential`: no block may begin before another ends."""

    sequential: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        self.context = context
        self.ended = False
        self.started = False
        self._sequence = Sequence() if self.sequential else None
        self._parts: list[bytes] = []
        self._writers: dict[type, Callable[[Any], None]] = {
            Failed: self._failed,
            End: self._ending,
            **self._more_writers(),
        }

    def write(self, events: Iterable[Event]) -> bytes:
        """Write events; those that the dialect cannot say are left out."""
        parts = self._parts
        writers = self._writers
        if self._sequence is not None:
            events = self._sequence.order(events)
        for event in events:
            if self.ended:
                break
            kind = type(event)
            if kind is Start:
                self._begin(event)  # type: ignore[arg-type]
                continue
            if not self.started and kind is not Failed:
                self._begin(Start())
            write = writers.get(kind)
            if write is not None:
                write(event)
        found = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        return found

    def fail(self, problem: Problem) -> bytes:
        """End the stream with an error; nothing that follows looks complete."""
        if self.ended:
            return b""
        self.ended = True
        return self._error(problem)

    def _begin(self, start: Start) -> None:
        if not self.started:
            self.started = True
            self._start(start)

    def _ending(self, end: End) -> None:
        self._close()
        self.ended = True

    def _failed(self, failed: Failed) -> None:
        self._parts.append(self.fail(problem_of(failed)))

    @abstractmethod
    def _more_writers(self) -> dict[type, Callable[[Any], None]]:
        """Name the method for each kind of event the dialect can say."""

    @abstractmethod
    def _start(self, start: Start) -> None: ...

    @abstractmethod
    def _close(self) -> None:
        """Write what completes the stream, its terminator last."""

    @abstractmethod
    def _error(self, problem: Problem) -> bytes: ...


def problem_of(failed: Failed) -> Problem:
    return Problem(failed.status, failed.type, failed.code, failed.message)


def sse(name: str, found: object) -> bytes:
    """Write one named event."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(found))
