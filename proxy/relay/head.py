"""HTTP/1.1 heads as text: requests written, replies read. Sans-IO.

Reading is strict, because a reply that two parsers read differently is how one
caller gets another's answer: no bare LF, no folding, no space before a colon,
one Content-Length, Transfer-Encoding only `chunked` (RFC 9112 §5, §6.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final

from proxy.core.known_head import KnownHead
from proxy.core.types import Pair
from proxy.relay.errors import BrokenReply, Phase

HEAD_LIMIT: Final = 64 << 10
FIELD_LIMIT: Final = 100  # Envoy's too, and what Python's http.client reads at most

_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([^\r\n\0]*))?\r\n"
)
# White space around a value is stripped afterwards: to match it takes a time that
# grows with the cube of its length.
_FIELD: Final = re.compile(rb"(?m)^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\r\n\0]*)\r\n")
_UNSAFE: Final = re.compile(r"[\r\n\0]")
_ONE_LENGTH: Final = re.compile(
    rb"\r\ncontent-length: ([0-9]{1,15})\r\n", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_REMEMBERED: Final = 128
_BODILESS: Final = frozenset({204, 304})  # RFC 9112 §6.3; 205 is framed as it says
REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class ReplyHead:
    """A reply's head, read. Field names are lower-case, values latin-1 text.

    `length` is the body's size in bytes (0 where the status allows none), None
    when it is `chunked` or ends with the connection. `memo` is shared by heads
    that differ in their length only.
    """

    status: int
    pairs: tuple[Pair, ...]
    length: int | None
    chunked: bool
    keep_alive: bool
    memo: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)

    def get(self, name: str) -> str | None:
        for key, value in self.pairs:
            if key == name:
                return value
        return None

    def sized(self, length: int) -> ReplyHead:
        """Answer the head of a reply that differs in its length only."""
        return ReplyHead(
            self.status, self.pairs, length, False, self.keep_alive, self.memo
        )


def write_request(method: str, target: str, pairs: Iterable[Pair]) -> bytes:
    """Encode a request head but for its closing blank line.

    Raises ValueError on a line break or NUL in it.
    """
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in pairs]
    text = "\r\n".join(lines)
    # One pass over the whole instead of one per value: every legal line break is
    # ours, so their number tells.
    if text.count("\r") != len(lines) - 1 or text.count("\n") != len(lines) - 1:
        raise ValueError("a header field holds a line break")
    if "\0" in text:
        raise ValueError("a header field holds a NUL")
    return text.encode("latin-1") + b"\r\n"


class HeadReader:
    """Reads heads, remembering those that come again and again.

    A server's heads differ in the body's length and, once a second, in the date.
    What is remembered has no Content-Length among its fields: `length` tells.

    `last` is the last head with a length (that of its own reply), by `again` it is known.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, ReplyHead] = {}
        self.last: ReplyHead | None = None
        self.again = KnownHead(b"", b"")

    def read(self, raw: bytes, method: str) -> ReplyHead:
        """As `read_reply`."""
        found = _ONE_LENGTH.search(raw)
        if method == "HEAD":
            return read_reply(raw, method)
        if found is None:
            return self._known.get(raw) or self._read_unsized(raw, method)
        start, end = found.span(1)
        # NUL: no head without the number may be taken for one that had it.
        head = self._known.get(key := raw[:start] + b"\0" + raw[end:])
        if head is None:
            head = self._remember(key, read_reply(raw, method))
        if head.status in _BODILESS or head.status < 200:
            return head
        if head is not self.last:
            self.last, self.again = head, KnownHead(raw[:start], raw[end:])
        return head.sized(int(raw[start:end]))

    def _read_unsized(self, raw: bytes, method: str) -> ReplyHead:
        head = read_reply(raw, method)
        return self._remember(raw, head) if head.chunked else head

    def _remember(self, key: bytes, head: ReplyHead) -> ReplyHead:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        pairs = tuple(pair for pair in head.pairs if pair[0] != "content-length")
        self._known[key] = head = replace(head, pairs=pairs)
        return head


def read_reply(raw: bytes, method: str) -> ReplyHead:
    """Read a reply's head, closing blank line included, to a request of `method`.

    Raises BrokenReply on anything that is not exactly HTTP/1.0 or 1.1.
    """
    start = _STATUS_LINE.match(raw)
    if start is None:
        raise _broken("its status line is not HTTP/1.1")
    pairs = _read_fields(raw, start.end())
    if raw.count(b"\n") != len(pairs) + 2 or raw.count(b"\r") != len(pairs) + 2:
        raise _broken("its header has a malformed line")
    if len(pairs) > FIELD_LIMIT:
        raise _broken("its header has too many fields")
    status = int(start[2])
    length, chunked = _framing(pairs, status, method)
    connection = [v.lower() for name, v in pairs if name == "connection"]
    keep_alive = start[1] == b"1" and not any("close" in v for v in connection)
    if length is None and not chunked:
        keep_alive = False
    return ReplyHead(status, pairs, length, chunked, keep_alive)


def _framing(
    pairs: tuple[Pair, ...], status: int, method: str
) -> tuple[int | None, bool]:
    lengths = [value for name, value in pairs if name == "content-length"]
    codings = [value for name, value in pairs if name == "transfer-encoding"]
    if len(lengths) > 1 or (lengths and not _NUMBER.fullmatch(lengths[0])):
        raise _broken("its Content-Length is not one number")
    if method == "HEAD" or status in _BODILESS or 100 <= status < 200:
        return 0, False
    if codings:
        if lengths or len(codings) > 1 or codings[0].lower() != "chunked":
            raise _broken("its body's framing is ambiguous")
        return None, True
    return (int(lengths[0]) if lengths else None), False


def read_trailers(raw: bytes) -> tuple[Pair, ...]:
    """Read a chunked body's trailer fields, without the closing blank line."""
    pairs = _read_fields(raw, 0)
    if raw.count(b"\n") != len(pairs) or raw.count(b"\r") != len(pairs):
        raise _broken("its trailer has a malformed line", Phase.IDLE)
    return pairs


def _read_fields(raw: bytes, start: int) -> tuple[Pair, ...]:
    """Read what are proper field lines; the caller counts whether all were."""
    return tuple(
        (name.lower().decode("ascii"), value.strip(b" \t").decode("latin-1"))
        for name, value in _FIELD.findall(raw, start)
    )


def encode_fields(pairs: Sequence[Pair]) -> bytes:
    """Encode header fields, a line each; a value that would forge one is left out."""
    text = "".join([f"{name}: {value}\r\n" for name, value in pairs])
    size = len(pairs)
    if text.count("\n") != size or text.count("\r") != size or "\0" in text:
        safe = [pair for pair in pairs if _UNSAFE.search(pair[1]) is None]
        text = "".join([f"{name}: {value}\r\n" for name, value in safe])
    return text.encode("latin-1", "replace")


def _broken(why: str, phase: Phase = Phase.FIRST_BYTE) -> BrokenReply:
    return BrokenReply(f"the reply is not valid HTTP: {why}", phase)
