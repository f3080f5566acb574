"""Newline-delimited JSON: one object per line, as Ollama streams it."""

from __future__ import annotations

from providers.wire.hold import Tail


class NDJSONHold:
    """Keeps the unfinished last line back; see Hold."""

    __slots__ = ("_tail",)

    def __init__(self, limit_bytes: int) -> None:
        self._tail = Tail(limit_bytes)

    @property
    def tail_size(self) -> int:
        return self._tail.size

    def feed(self, data: bytes) -> bytes:
        if not self._tail.parts and data.endswith(b"\n"):
            return data
        return self._tail.cut(data, data.rfind(b"\n") + 1)


def lines(block: bytes) -> list[bytes]:
    """Cut whole lines apart, blank ones left out, without their line ends."""
    return [line for part in block.split(b"\n") if (line := part.strip())]
