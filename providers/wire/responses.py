"""OpenAI's Responses stream: a watch over its events.

Only events that carry a whole `response` object, or an error, are parsed.
"""

from __future__ import annotations

import re
from typing import Final

from providers.wire.counts import openai_usage
from providers.wire.peek import Object, error_text, is_empty, peek, text, value
from providers.wire.sse import data_of, name_of, split_events
from providers.wire.watch import Notes

_response: Final = re.compile(rb'"response"\s*:').search
_error: Final = re.compile(rb'"error"(?!\s*:\s*null)').search

_TERMINAL: Final = frozenset(
    ("response.completed", "response.incomplete", "response.failed")
)


class ResponsesWatch(Notes):
    """Watches for the closing event (completed, incomplete, failed or error)."""

    __slots__ = ("_last", "_previous")

    def __init__(self, *, terminated: bool = True) -> None:
        super().__init__(terminated=terminated)
        self._last = self._previous = b""

    def see(self, events: bytes) -> bytes:
        if events[:1] != b":" or any(map(data_of, split_events(events))):
            # No comments alone: they carry no number.
            self._previous, self._last = self._last, events
        if _response(events) or _error(events):
            for event in split_events(events):
                self._note(event)
        return events

    def next_sequence(self) -> int:
        """Number after the last `sequence_number`; 0 if there was none.

        The very last event may be the beginning of one that was cut off.
        """
        for events in (self._last, self._previous):
            for event in reversed(split_events(events)):
                number = value(peek(data_of(event)).get("sequence_number"))
                if isinstance(number, int):
                    return number + 1
        return 0

    def _note(self, event: bytes) -> None:
        if not (_response(event) or _error(event)):
            return
        members = peek(data_of(event))
        if not members:
            return  # its name alone says nothing: it may have been cut off
        kind = text(members.get("type")) or name_of(event).decode("utf-8", "replace")
        response = peek(members.get("response"))
        self.response_id = text(response.get("id")) or self.response_id
        if kind in _TERMINAL:
            self._close(kind, response)
        elif kind == "error" or not is_empty(members.get("error")):
            self.fail(_message(members))

    def _close(self, kind: str, response: Object) -> None:
        self.complete = True
        self.usage = openai_usage(response.get("usage")) or self.usage
        if kind == "response.failed":
            self.fail(error_text(response.get("error")))


def _message(members: Object) -> str:
    """Read an error event: its own message, or that of its `error` object."""
    return text(members.get("message")) or error_text(members.get("error"))
