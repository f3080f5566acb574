"""A reply whose streams tell, in every chunk, which provider they are of (/llm).

Knows events of SSE alone: whole ones come, and go on with one member more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import orjson

from providers.wire.members import MalformedJSON, with_member
from proxy.core.call import Reply
from proxy.core.passed_reply import PassedReply
from proxy.core.types import Pair

_DATA: Final = re.compile(rb"(?m)^data: ?(\{[^\r\n]*\})")
_STREAM: Final = "text/event-stream"


class NamedReply(PassedReply):
    """`name` is asked for with every write; None names nobody."""

    __slots__ = ("_is_stream", "_name")

    def __init__(self, reply: Reply, name: Callable[[], str | None]) -> None:
        super().__init__(reply)
        self._name = name
        self._is_stream = False

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
        super().start(status, headers, length, block)

    def write(self, data: bytes) -> None:
        name = self._name() if self._is_stream else None
        super().write(data if name is None else _named(data, name))


def _named(events: bytes, name: str) -> bytes:
    value = orjson.dumps(name)

    def one(found: re.Match[bytes]) -> bytes:
        try:
            return b"data: " + with_member(found[1], "provider", value)
        except MalformedJSON:
            return found[0]

    return _DATA.sub(one, events)
