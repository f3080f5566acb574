"""What every stream reader tells: is it complete, what did it cost, who made it.

A watch sees whole events only (relay holds back unfinished tails). `see` is on
the hot path: it may look for a marker in the bytes, and parses only the rare
event that carries one. One class per dialect, chosen by `watch_for`.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from providers.wire.usage import Usage


class Watch(Protocol):
    """Reads a passing stream of whole events.

    `usage` is what the upstream has reported so far; `response_id` the id of a
    Responses object; `error` the message of an in-band error event, if one came.
    """

    usage: Usage | None
    response_id: str | None
    error: str | None

    def see(self, events: bytes) -> bytes:
        """Take one or more whole events; answer those that the caller may see."""
        ...

    @property
    def marks(self) -> tuple[bytes, bytes] | None:
        """What an event that is JSON has one of, if `see` is to look at it; None: `see`
        looks at each.
        """
        ...

    def is_plain(self, events: bytes) -> bool:
        """Tell whether whole events, in a frame of HTTP perhaps, say nothing that `see`
        would note or leave out. True is never wrong.
        """
        ...

    def is_complete(self) -> bool:
        """Tell whether the dialect's terminator has passed."""
        ...

    def next_sequence(self) -> int:
        """Give the number an event added now would carry; 0 where none are numbered."""
        ...


class Notes:
    """What every watch writes down; the base of those there are."""

    __slots__ = ("complete", "error", "response_id", "usage")

    marks: ClassVar[tuple[bytes, bytes] | None] = None

    usage: Usage | None
    response_id: str | None
    error: str | None

    def __init__(self, *, terminated: bool = True) -> None:
        self.usage = None
        self.response_id = None
        self.error = None
        self.complete = not terminated

    def is_plain(self, events: bytes) -> bool:
        return False

    def is_complete(self) -> bool:
        return self.complete

    def next_sequence(self) -> int:
        return 0

    def fail(self, message: str) -> None:
        """Note the dialect's own error: it ends the stream, nothing is to be added."""
        self.error = message
        self.complete = True
