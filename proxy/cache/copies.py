"""Replies that are caught on their way: to be kept, or to be told to several.

`Collected` is the end of the way for work that several wait for; `Copied` lets a reply
through to its caller and keeps a copy, up to a bound. Both are core.call's Reply.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from proxy.core.call import Lane, Pausable, Reply, Tunnel
from proxy.core.passed_reply import PassedReply
from proxy.core.types import Pair

_field: Final = re.compile(
    rb"(?im)^(content-type|content-encoding):[ \t]*([^\r\n]*)"
).findall


class Caught(Struct, frozen=True):
    """A reply that came to its end."""

    status: int
    content_type: str
    body: bytes

    @property
    def is_stream(self) -> bool:
        return self.content_type.partition(";")[0].strip() == "text/event-stream"

    @property
    def is_json(self) -> bool:
        return "json" in self.content_type


class _Pieces:
    """What a reply holds, as far as it is within the bound and plainly encoded."""

    __slots__ = ("_ended", "_limit_bytes", "_parts", "_room", "_status", "_type")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._room = limit_bytes
        self._parts: list[bytes] = []
        self._status = 0
        self._type = ""
        self._ended = False

    def start(self, status: int, headers: Sequence[Pair], block: bytes) -> None:
        said = {name.lower(): value for name, value in headers}
        for name, value in _field(block):
            said.setdefault(name.lower().decode(), value.decode("latin-1"))
        self._status = status
        self._type = said.get("content-type", "").lower()
        if said.get("content-encoding", "identity").strip().lower() != "identity":
            self.drop()

    def add(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room >= 0:
            self._parts.append(data)
        else:
            self._parts = []

    def end(self) -> None:
        self._ended = True

    def drop(self) -> None:
        self._room = -1
        self._parts = []

    def caught(self) -> Caught | None:
        if not self._ended or self._room < 0:
            return None
        return Caught(self._status, self._type, b"".join(self._parts))


class Collected:
    """A Reply that nobody reads while it comes."""

    def __init__(self, limit_bytes: int) -> None:
        self.started = False
        self.ended = False
        self.gone = False
        self.paused = False
        self.bytes_out = 0
        self.status = 0
        self._pieces = _Pieces(limit_bytes)

    def start(
        self,
        status: int,
        headers: Sequence[Pair],
        length: int | None,
        block: bytes = b"",
    ) -> None:
        self.started = True
        self.status = status
        self._pieces.start(status, headers, block)

    def whole(
        self, status: int, headers: Sequence[Pair], body: bytes, block: bytes = b""
    ) -> None:
        self.start(status, headers, len(body), block)
        self.write(body)
        self.end()

    def write(self, data: bytes) -> None:
        self.bytes_out += len(data)
        self._pieces.add(data)

    def lend(self, lane: Lane) -> None:
        """Leave it shut: what passes is looked at here."""

    def end(self, trailers: Sequence[Pair] = (), last: bytes = b"") -> None:
        if last:
            self.write(last)
        self.ended = True
        self._pieces.end()

    def abort(self) -> None:
        self.gone = True
        self._pieces.drop()

    def feed_from(self, source: Pausable | None) -> None:
        """Nobody reads too slowly."""

    def upgrade(self, headers: Sequence[Pair], tunnel: Tunnel) -> Pausable:
        raise NotImplementedError("a tunnel has no end that could be collected")

    def caught(self) -> Caught | None:
        """Answer the reply; None if it broke off or was larger than the bound."""
        return self._pieces.caught()


class Copied(PassedReply):
    """A Reply that goes through to another, and is kept beside."""

    __slots__ = ("_pieces",)

    def __init__(self, reply: Reply, limit_bytes: int) -> None:
        super().__init__(reply)
        self._pieces = _Pieces(limit_bytes)

    def start(
        self,
        status: int,
        headers: Sequence[Pair],
        length: int | None,
        block: bytes = b"",
    ) -> None:
        self._pieces.start(status, headers, block)
        super().start(status, headers, length, block)

    def whole(
        self, status: int, headers: Sequence[Pair], body: bytes, block: bytes = b""
    ) -> None:
        self._pieces.start(status, headers, block)
        self._pieces.add(body)
        self._pieces.end()
        super().whole(status, headers, body, block)

    def write(self, data: bytes) -> None:
        self._pieces.add(data)
        super().write(data)

    def end(self, trailers: Sequence[Pair] = (), last: bytes = b"") -> None:
        if last:
            self.write(last)
        self._pieces.end()
        super().end(trailers)

    def abort(self) -> None:
        self._pieces.drop()
        super().abort()

    def upgrade(self, headers: Sequence[Pair], tunnel: Tunnel) -> Pausable:
        self._pieces.drop()
        return super().upgrade(headers, tunnel)

    def caught(self) -> Caught | None:
        """Answer the copy; None if it broke off or was larger than the bound."""
        return self._pieces.caught()
