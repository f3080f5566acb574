"""The fourth way a reply's body may take: a stream, said in another dialect.

Bytes of the upstream go in, cut anywhere; whole events of the caller's dialect come
out. As with events that pass as they are, a stream that broke never looks complete.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from providers.wire.envelopes import Problem
from providers.wire.hold import EventTooLarge
from providers.wire.translate.events import (
    Counted,
    End,
    Event,
    Failed,
    Start,
    ToolCallStart,
)
from providers.wire.translate.streams import StreamReader, StreamWriter
from providers.wire.usage import Usage
from proxy.core.call import Reply
from proxy.core.types import Pair
from proxy.relay.errors import BrokenReply, Phase


class Translated:
    """Reads one dialect, writes another. `usage`, `response_id` and `error` are told
    as a Watch tells them. `note_call` hears of calls that carry a signature,
    `on_complete` of the end.
    """

    __slots__ = (
        "_is_complete",
        "_note_call",
        "_on_complete",
        "_read",
        "_reader",
        "_reply",
        "_write",
        "_writer",
        "body",
        "error",
        "events",
        "progress",
        "response_id",
        "usage",
    )

    def __init__(
        self,
        reply: Reply,
        reader: StreamReader,
        writer: StreamWriter,
        note_call: Callable[[ToolCallStart], None],
        on_complete: Callable[[StreamWriter], None],
    ) -> None:
        self.body: bytes | None = None
        self.progress = 0
        self.usage: Usage | None = None
        self.response_id: str | None = None
        self.error: str | None = None
        self._is_complete = False
        self.events = 0
        self._reply = reply
        self._reader = reader
        self._read = reader.feed
        self._writer = writer
        self._write = writer.write
        self._note_call = note_call
        self._on_complete = on_complete

    def data(self, data: bytes) -> None:
        self.progress += len(data)
        try:
            events = self._read(data)
        except EventTooLarge as error:
            raise BrokenReply(
                "one event of its stream is larger than stream.maxEventBytes",
                Phase.IDLE,
            ) from error
        if events:
            self.events += len(events)
            self._say(events)

    def end(self, trailers: tuple[Pair, ...], last: bytes = b"") -> None:
        if last:
            self.data(last)
        if not self._reader.ended:
            events = self._reader.close()
            if any(type(event) is Failed for event in events):
                raise BrokenReply("its stream ended before it was complete", Phase.IDLE)
            self._say(events)
        self._reply.end()

    def whole(self, data: bytes) -> None:
        self.end((), data)

    def ends_well_if_lost(self) -> bool:
        return self._reader.ended

    def last_words(self, problem: Problem) -> bytes:
        """End the stream with an error, as its dialect does; b"" once it has ended."""
        return self._writer.fail(problem)

    def _say(self, events: list[Event]) -> None:
        for event in events:
            kind = type(event)
            if kind is Counted:
                self.usage = event.usage  # type: ignore[union-attr]
            elif kind in _TELLING:
                self._note(event)
        said = self._write(events)
        if self._is_complete:
            self._is_complete = False
            self._on_complete(self._writer)  # before the caller can know of it
        if said:
            self._reply.write(said)

    def _note(self, event: Event) -> None:
        if isinstance(event, Start):
            self.usage = event.usage or self.usage
        elif isinstance(event, Failed):
            self.error = event.message
        elif isinstance(event, End):
            self._is_complete = True
        elif isinstance(event, ToolCallStart) and event.signature is not None:
            self._note_call(event)


_TELLING: Final = frozenset({End, Failed, Start, ToolCallStart})
