"""Holding back the unfinished tail of a stream: the contract, and the case without.

Relay feeds what arrived and writes what comes back, so that whatever it adds
itself (a keep-alive, an error) always falls between two events. The classes per
framing are in sse and ndjson, chosen by holds.hold_for.
"""

from __future__ import annotations

from typing import Protocol


class EventTooLarge(Exception):
    """An event that is still unfinished has passed the limit."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"an event is larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class Hold(Protocol):
    """Answers whole events, keeps the rest. Concatenated answers are the input."""

    def feed(self, data: bytes) -> bytes:
        """Answer all bytes up to the last boundary; raises EventTooLarge."""
        ...

    @property
    def tail_size(self) -> int:
        """The number of bytes held back; not zero at the end means cut short."""
        ...


class Tail:
    """The parts of an unfinished event, joined only once it is finished.

    An event of many megabytes arrives in pieces of 64 KiB: joining at each piece
    would copy it again and again.
    """

    __slots__ = ("limit_bytes", "parts", "size")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.parts: list[bytes] = []
        self.size = 0

    def cut(self, data: bytes, end: int) -> bytes:
        """Answer the tail and `data` up to `end`; what is left becomes the tail.

        The limit is checked when nothing is answered: complete events that came
        in the same piece are delivered first.
        """
        if not end:
            self._keep(data)
            if self.size > self.limit_bytes:
                raise EventTooLarge(self.limit_bytes)
            return b""
        whole = data[:end]
        if self.parts:
            self.parts.append(whole)
            whole = b"".join(self.parts)
            self.parts = []
            self.size = 0
        self._keep(data[end:])
        return whole

    def _keep(self, rest: bytes) -> None:
        if rest:
            self.parts.append(rest)
            self.size += len(rest)


class PassHold:
    """For bodies without inner boundaries: everything passes at once."""

    __slots__ = ()
    tail_size = 0

    def feed(self, data: bytes) -> bytes:
        return data
