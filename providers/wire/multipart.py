"""Find one text field in a multipart/form-data body that is still arriving.

Only the head of the body up to that field is looked at and kept; files are never
parsed. Sans-IO: `feed` pieces until `found` or `ended`.
"""

from __future__ import annotations

import re
from typing import Final

_BOUNDARY: Final = re.compile(
    r'[;\s]boundary=(?:"([^"]{1,200})"|([^";,\s]{1,200}))(?:[;,\s]|$)', re.IGNORECASE
)
_PART_HEAD_LIMIT: Final = 8192
# A part's disposition up to one of its parameters. Those before it are passed whole:
# what a quoted file name holds is no parameter.
_DISPOSITION: Final = (
    rb"\r\n(?i:content-disposition:[ \t]*form-data)"
    rb'(?:[ \t]*;[ \t]*[^\s=;"]+=(?:"(?:[^"\\\r\n]|\\[^\r\n])*"|[^\s;"]*))*?'
    rb"[ \t]*;[ \t]*"
)


class MalformedForm(ValueError):
    """The bytes are no multipart body of this boundary."""


def boundary_of(content_type: str) -> bytes | None:
    """Read the boundary of a multipart Content-Type; None if there is none."""
    if not content_type.lower().startswith("multipart/form-data"):
        return None
    found = _BOUNDARY.findall(content_type)
    # Of two, another reader might take the other, and see another form.
    return "".join(found[0]).encode("latin-1") if len(found) == 1 else None


class FieldFinder:
    """Looks for the field `name`. `head` is all that was fed so far.

    Once `found`, `value` is its bytes and `span` where they lie in `head`.
    """

    def __init__(self, boundary: bytes, name: str) -> None:
        self._mark = b"--" + boundary
        wanted = re.escape(name.encode())
        self._wanted = re.compile(
            _DISPOSITION + rb'(?i:name)=(?:"%b"|%b)[ \t]*[;\r]' % (wanted, wanted)
        )
        self._at = 0  # where the search for the next boundary goes on
        self._value_at: int | None = None
        self.head = bytearray()
        self.found = False
        self.ended = False
        self.span = (0, 0)

    @property
    def value(self) -> bytes:
        return bytes(self.head[self.span[0] : self.span[1]])

    def feed(self, data: bytes) -> None:
        """Take more of the body. Raises MalformedForm."""
        self.head += data
        while not self.found and not self.ended and self._step():
            pass

    def _step(self) -> bool:
        """Pass one boundary and the part's head behind it; False when more is due."""
        found = self._boundary()
        if found is None:
            return False
        start, head_at = found
        if self._value_at is not None:
            self.span, self.found = (self._value_at, start), True
            return True
        if self.head.startswith(b"--", head_at):
            self.ended = True
            return True
        end = self.head.find(b"\r\n\r\n", head_at)
        if end < 0:
            if len(self.head) - head_at > _PART_HEAD_LIMIT:
                raise MalformedForm("a part of the form has no proper head")
            self._at = start
            return False
        if self._wanted.search(self.head, head_at, end + 2):
            self._value_at = end + 4
        # The part may be empty: its closing boundary may share the blank line.
        self._at = end + 2
        return True

    def _boundary(self) -> tuple[int, int] | None:
        """Find the next boundary: where the line end before it lies, and its end.

        The body may begin with one. What only begins like it is part of a value.
        """
        while True:
            if self._at == 0 and self.head.startswith(self._mark):
                start, end = 0, len(self._mark)
            else:
                line = b"\r\n" + self._mark
                start = self.head.find(line, self._at)
                end = start + len(line)
            if start < 0 or len(self.head) < end + 2:
                self._at = start if start >= 0 else self._unsearched()
                return None
            if self.head[end : end + 2] == b"--" or self.head[end] in b" \t\r":
                return start, end
            self._at = end

    def _unsearched(self) -> int:
        """Where a boundary may begin whose end has not come yet."""
        return max(self._at, len(self.head) - len(self._mark) - 1)
