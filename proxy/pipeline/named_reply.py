"""A reply whose streams tell, in every chunk, which provider they are of (/llm).

Knows events of SSE alone: whole ones come, and go on with one member more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import orjson

from providers.wire.members import MalformedJSON, with_member
from proxy.core.call import Pausable, Reply, Tunnel
from proxy.core.types import Pair

_DATA: Final = re.compile(rb"(?m)^data: ?(\{[^\r\n]*\})")
_STREAM: Final = "text/event-stream"


class NamedReply:
    """Implements Reply, by another. `name` is asked for with every write; None names
    nobody.
    """

    def __init__(self, reply: Reply, name: Callable[[], str | None]) -> None:
        self._reply = reply
        self._name = name
        self._is_stream = False

    @property
    def started(self) -> bool:
        return self._reply.started

    @property
    def ended(self) -> bool:
        return self._reply.ended

    @property
    def gone(self) -> bool:
        return self._reply.gone

    @property
    def paused(self) -> bool:
        return self._reply.paused

    @property
    def bytes_out(self) -> int:
        return self._reply.bytes_out

    @property
    def status(self) -> int:
        return self._reply.status

    def start(
        self,
        status: int,
        headers: Sequence[Pair],
        length: int | None,
        block: bytes = b"",
    ) -> None:
        told = [value for name, value in headers if name.lower() == "content-type"]
        types = (*told, block.decode("latin-1").lower())
        self._is_stream = any(_STREAM in text for text in types)
        self._reply.start(status, headers, length, block)

    def whole(
        self, status: int, headers: Sequence[Pair], body: bytes, block: bytes = b""
    ) -> None:
        self._reply.whole(status, headers, body, block)

    def write(self, data: bytes) -> None:
        name = self._name() if self._is_stream else None
        self._reply.write(data if name is None else _named(data, name))

    def forward(self, frame: bytes, size: int) -> bool:
        """Answer that it is to be written: what passes is looked at here."""
        return False

    def end(self, trailers: Sequence[Pair] = ()) -> None:
        self._reply.end(trailers)

    def abort(self) -> None:
        self._reply.abort()

    def feed_from(self, source: Pausable | None) -> None:
        self._reply.feed_from(source)

    def upgrade(self, headers: Sequence[Pair], tunnel: Tunnel) -> Pausable:
        return self._reply.upgrade(headers, tunnel)


def _named(events: bytes, name: str) -> bytes:
    value = orjson.dumps(name)

    def one(found: re.Match[bytes]) -> bytes:
        try:
            return b"data: " + with_member(found[1], "provider", value)
        except MalformedJSON:
            return found[0]

    return _DATA.sub(one, events)
