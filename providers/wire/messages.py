"""Anthropic's Messages stream: a watch over its events.

Parsed are the first event, the one that closes the count, and errors.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from providers.wire.counts import anthropic_usage
from providers.wire.peek import error_text, peek, text
from providers.wire.sse import data_of, name_of, split_events
from providers.wire.watch import Notes

_usage: Final = re.compile(rb'"usage"(?!\s*:\s*null)').search
_error: Final = re.compile(rb'"error"').search
_stop: Final = re.compile(rb"message_stop").search


class MessagesWatch(Notes):
    """Watches for `message_stop`, the two usages and an `error` event."""

    __slots__ = ("_begun", "_counted")

    def __init__(self, *, terminated: bool = True) -> None:
        super().__init__(terminated=terminated)
        self._begun: msgspec.Raw | None = None
        self._counted: msgspec.Raw | None = None

    def see(self, events: bytes) -> bytes:
        if _usage(events) or _stop(events) or _error(events):
            for event in split_events(events):
                self._note(event)
        return events

    def _note(self, event: bytes) -> None:
        if not (_usage(event) or _stop(event) or _error(event)):
            return
        members = peek(data_of(event))
        if not members:
            return  # its name alone says nothing: it may have been cut off
        kind = text(members.get("type")) or name_of(event).decode("utf-8", "replace")
        if kind == "message_start":
            self._begun = peek(members.get("message")).get("usage")
        elif kind == "message_delta":
            self._counted = members.get("usage")
        elif kind == "message_stop":
            self.complete = True
        elif kind == "error":
            self.fail(error_text(members.get("error")))
        self.usage = anthropic_usage(self._begun, self._counted)
