"""Frames between a sandbox's process and the gateway: a length, then JSON.

Jobs come on standard input; replies leave on the descriptor that the gateway named.
Also what a reply may hold, cut to the size that was allowed.
"""

from __future__ import annotations

import json
import os
from typing import Any, Final

_STDIN: Final = 0
_HEAD_BYTES: Final = 4


class Channel:
    """The process's end. `descriptor` is where replies go."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def receive(self) -> dict[str, Any] | None:
        """Wait for a job; None when there will be none."""
        head = _read(_HEAD_BYTES)
        body = _read(int.from_bytes(head, "big")) if head else b""
        job: dict[str, Any] | None = json.loads(body) if body else None
        return job

    def send(self, reply: dict[str, Any]) -> None:
        body = json.dumps(reply).encode("ascii")
        data = len(body).to_bytes(_HEAD_BYTES, "big") + body
        while data:
            data = data[os.write(self._descriptor, data) :]


def _read(size: int) -> bytes:
    pieces: list[bytes] = []
    while size:
        piece = os.read(_STDIN, min(size, 1 << 16))
        if not piece:
            return b""
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def result(value: object, type_name: str, limit: int) -> dict[str, Any]:
    """Make the reply that carries a result: as JSON, where it is any, else its repr."""
    text = as_json(value)
    is_cut = len(text) > limit
    if is_cut:
        text = json.dumps(text[: max(0, limit - 2)])
    return {
        "kind": "result",
        "result": text,
        "type": type_name[:200],
        "truncated": is_cut,
    }


def raised(
    type_name: str, message: str, traceback: str, *, line: int | None = None
) -> dict[str, Any]:
    """Make the reply that says how the code failed."""
    return {
        "kind": "raised",
        "exception": type_name[:200],
        "message": message[:2000],
        "traceback": traceback[-8000:],
        "line": line,
    }


def as_json(value: object) -> str:
    """Write a value as JSON text; a part that JSON has no word for by its repr."""
    try:
        text = json.dumps(value, default=shown, allow_nan=False, ensure_ascii=False)
        text.encode()  # half of a character outside the basic plane is no text
    except BaseException:  # whatever the value's own methods raise
        return json.dumps(shown(value))
    return text


def shown(value: object) -> str:
    """The repr of a value whose own may fail."""
    try:
        return str(repr(value))
    except BaseException:
        return f"<{type(value).__name__}>"
