"""Tool calls that arrive interleaved, put one after another.

Chat streams may give a piece of the second call before the first is complete; Messages
and Responses have blocks, of which one is open at a time. What belongs to another
block waits until the open call ends.
"""

from __future__ import annotations

from collections.abc import Iterable

from providers.wire.translate.events import (
    Counted,
    End,
    Event,
    Failed,
    Finished,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)

_LAST = (Finished, End)
_APART = (Counted, Failed)


class Sequence:
    """Orders the events of one stream."""

    __slots__ = ("_open", "_waiting")

    def __init__(self) -> None:
        self._open: int | None = None
        self._waiting: list[Event] = []

    def order(self, events: Iterable[Event]) -> list[Event]:
        """Answer the events whose turn it is."""
        found: list[Event] = []
        for event in events:
            if self._open is None:
                found.append(event)
                if type(event) is ToolCallStart:
                    self._open = event.index
            else:
                self._within_call(event, self._open, found)
        return found

    def _within_call(self, event: Event, call: int, found: list[Event]) -> None:
        if isinstance(event, ToolCallDelta) and event.index == call:
            found.append(event)
        elif isinstance(event, ToolCallEnd) and event.index == call:
            found.append(event)
            self._go_on(found)
        elif isinstance(event, _APART):
            found.append(event)
        elif isinstance(event, _LAST):
            while self._open is not None:
                found.append(ToolCallEnd(self._open))
                self._go_on(found)
            found.append(event)
        else:
            self._waiting.append(event)

    def _go_on(self, found: list[Event]) -> None:
        waiting, self._waiting, self._open = self._waiting, [], None
        found += self.order(waiting)
