"""The pieces of a conversation, in order, as bytes: what a prefix cache would see.

A later turn of the same conversation begins with the same pieces, as clients send
back what they sent before. Nothing is parsed but the outer array; long pieces are
told by their length, beginning and end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from providers.wire.members import Members

_BEFORE: Final = ("tools", "system", "instructions")
_CONVERSATION: Final = ("messages", "input", "prompt")
_MOST_PIECES: Final = 2048
_EDGE: Final = 4096
_BLOCK: Final = 1024

_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_unreadable: Final = (msgspec.MsgspecError, ValueError, RecursionError)


def opening(members: Members) -> bytes:
    """Answer what stands before the conversation: the tools and the system's text."""
    return b"\0".join(_edges(members.raw(name) or b"") for name in _BEFORE)


def turns(members: Members) -> Iterator[bytes]:
    """Yield the pieces of the conversation; none when there is none.

    A text is cut into blocks, the last of which is left out unless it is full: the
    next turn's text goes on in the middle of it.
    """
    for name in _CONVERSATION:
        raw = members.raw(name)
        if raw is None:
            continue
        if raw[:1] == b"[":
            yield from _elements(raw)
        else:
            yield from _blocks(raw)
        return


def _elements(raw: bytes) -> Iterator[bytes]:
    try:
        found = _list.decode(raw)
    except _unreadable:
        return
    for element in found[:_MOST_PIECES]:
        yield _edges(element)


def _blocks(raw: bytes) -> Iterator[bytes]:
    # Less the closing quote, which moves.
    text = raw[: min(len(raw) - 1, _MOST_PIECES * _BLOCK)]
    whole = len(text) - len(text) % _BLOCK
    if not whole:
        yield text
        return
    for start in range(0, whole, _BLOCK):
        yield text[start : start + _BLOCK]


def _edges(raw: bytes | msgspec.Raw) -> bytes:
    view = memoryview(raw)
    if len(view) <= 2 * _EDGE:
        return bytes(view)
    return b"%d:%b%b" % (len(view), bytes(view[:_EDGE]), bytes(view[-_EDGE:]))
