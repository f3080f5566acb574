"""Body framing of replies, sans-IO: wire bytes in, payload bytes out.

`feed` answers the payload in what came; `done` is set with the body's last
byte, `rest` then holds what followed it (on one connection nothing may).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Protocol

from proxy.core.types import Pair
from proxy.relay.errors import BrokenReply, Phase
from proxy.relay.head import ReplyHead, read_trailers

_LINE_LIMIT: Final = 4096
_TRAILER_LIMIT: Final = 16 << 10
_LAST: Final = b"\r\n0\r\n\r\n"  # the end of a chunk, and the body's
_SIZE, _END, _TRAILER = 0, 1, 2
_NO_CHUNK: Final = (b"\0", 0)
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


@lru_cache(maxsize=4096)
def as_one_chunk(length: int) -> tuple[bytes, int]:
    """Answer how so many bytes begin if they are one whole chunk with a payload, and the
    payload's size. Of all spellings of its size line it is the shortest. Where they are
    none, nothing begins like that.
    """
    for digits in range(1, 9):
        size = length - digits - 4
        if size > 0 and len(f"{size:x}") == digits:
            return b"%x\r\n" % size, size
    return _NO_CHUNK


class Decoder(Protocol):
    done: bool
    rest: bytes
    trailers: tuple[Pair, ...]

    @property
    def between(self) -> bool:
        """True where the very beginning of a chunk comes next."""
        ...

    def feed(self, data: bytes) -> bytes: ...

    def finish_at_close(self) -> bool:
        """Tell whether a closed connection is this body's proper end."""
        ...


def decoder_for(head: ReplyHead) -> Decoder:
    if head.chunked:
        return Chunked()
    if head.length is not None:
        return Length(head.length)
    return UntilClose()


class Length:
    """A body of known size."""

    __slots__ = ("done", "left", "rest", "trailers")

    between: Final = False

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0
        self.rest = b""
        self.trailers: tuple[Pair, ...] = ()

    def feed(self, data: bytes) -> bytes:
        self.left -= len(data)
        if self.left > 0:
            return data
        self.done = True
        if self.left == 0:
            return data
        cut = len(data) + self.left
        self.rest = data[cut:]
        return data[:cut]

    def finish_at_close(self) -> bool:
        return False


class UntilClose:
    """A body that ends with its connection (HTTP/1.0, or neither framing named)."""

    __slots__ = ("done", "rest", "trailers")

    between: Final = False

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self.trailers: tuple[Pair, ...] = ()

    def feed(self, data: bytes) -> bytes:
        return data

    def finish_at_close(self) -> bool:
        return True


class Chunked:
    """A chunked body (RFC 9112 §7.1).

    The common read is exactly one chunk, perhaps with the body's end: that costs one
    slice. Otherwise the payload of all chunks in what came is joined once.
    """

    __slots__ = ("_due", "_held", "_left", "between", "done", "rest", "trailers")

    def __init__(self) -> None:
        self._left = 0  # payload bytes of the open chunk still to come
        self._held = b""  # an unfinished size line, chunk end or trailer section
        self._due = _SIZE  # what comes once the payload is complete
        self.between = True
        self.done = False
        self.rest = b""
        self.trailers: tuple[Pair, ...] = ()

    def feed(self, data: bytes) -> bytes:
        if self.between:
            # Most reads of a stream are one whole chunk (bench: CPU per chunk).
            begin, _ = as_one_chunk(len(data))
            if data.startswith(begin) and data.endswith(b"\r\n"):
                return data[len(begin) : -2]
            if data.endswith(_LAST):
                begin, _ = as_one_chunk(len(data) - len(_LAST) + 2)
                if data.startswith(begin):
                    self.done, self.between = True, False
                    return data[len(begin) : -len(_LAST)]
        payload = self._feed(data)
        self.between = not (self._left or self._held or self._due)
        return payload

    def _feed(self, data: bytes) -> bytes:
        if self._held:
            data = self._held + data
            self._held = b""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end and not self.done:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                self._left -= len(piece)
                at += len(piece)
            elif self._due == _SIZE:
                at = self._size(data, at)
            else:
                at = (
                    self._end(data, at)
                    if self._due == _END
                    else self._trailer(data, at)
                )
        if self.done:
            self.rest = data[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish_at_close(self) -> bool:
        return False

    def _size(self, data: bytes, at: int) -> int:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            return self._hold(data, at, _LINE_LIMIT)
        digits, _, extension = data[at:line_end].partition(b";")
        digits = digits.rstrip(b" \t") if extension else digits
        if not 0 < len(digits) <= 15 or not _HEX.issuperset(digits):
            raise _broken("a chunk's size is not a number")
        if b"\n" in extension or b"\r" in extension or line_end - at > _LINE_LIMIT:
            raise _broken("a chunk's size line is malformed")
        self._left = int(digits, 16)
        self._due = _END if self._left else _TRAILER
        return line_end + 2

    def _end(self, data: bytes, at: int) -> int:
        mark = data[at : at + 2]
        if mark == b"\r\n":
            self._due = _SIZE
            return at + 2
        if mark == b"\r":
            return self._hold(data, at, 2)
        raise _broken("a chunk does not end where its size says")

    def _trailer(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self.done = True
            return at + 2
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            return self._hold(data, at, _TRAILER_LIMIT)
        self.trailers = read_trailers(data[at : end + 2])
        self.done = True
        return end + 4

    def _hold(self, data: bytes, at: int, limit: int) -> int:
        self._held = held = data[at:]
        if len(held) > limit:
            raise _broken("a chunk's size line or trailer is too long")
        if held.count(b"\n") != held.count(b"\r\n"):  # its CR will never come
            raise _broken("a chunk's size line or trailer has a bare LF")
        return len(data)


def _broken(why: str) -> BrokenReply:
    return BrokenReply(f"the reply is not valid HTTP: {why}", Phase.IDLE)
