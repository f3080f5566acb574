"""Reading a few members of a JSON object that somebody else wrote.

Values that nobody asks for are skipped, not parsed. Whatever has an unexpected
shape reads as absent: upstreams differ, and a count is not worth a failure.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

Object = dict[str, msgspec.Raw]

_decoder: Final = msgspec.json.Decoder(Object)
_EMPTY: Final = frozenset((b"", b"null", b"[]", b"{}", b'""', b"false"))
_SHOWN: Final = 500
# JSON allows an escaped surrogate without its partner, msgspec does not. The
# substitute has the same length, so that positions stay valid.
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")

_unreadable: Final = (msgspec.MsgspecError, ValueError, RecursionError)


def decode(body: bytes | msgspec.Raw) -> Object:
    """Take an object apart; raises msgspec's errors, ValueError, RecursionError."""
    return _decoder.decode(body)


class _Key:
    __slots__ = ()


class _Enough(Exception):
    """The object has more members than were asked about."""


def has_more_members(body: bytes, limit: int) -> bool:
    """Tell whether an object has more than `limit` members, keeping none of them.

    False where it is no JSON: whoever decodes it says why.
    """
    at = -1
    for _ in range(limit + 1):
        at = body.find(b":", at + 1)
        if at < 0:
            return False
    seen = 0

    def count(_kind: type, _key: object) -> _Key:
        nonlocal seen
        seen += 1
        if seen > limit:
            raise _Enough
        return _Key()

    try:
        msgspec.json.decode(body, type=dict[_Key, msgspec.Raw], dec_hook=count)
    except _Enough:
        return True
    except _unreadable:
        pass
    return False


def without_surrogates(body: bytes) -> bytes:
    """Put U+FFFD for every escaped surrogate; no byte changes its place."""
    return _SURROGATE.sub(rb"\\uFFFD", body)


def peek(body: bytes | msgspec.Raw | None) -> Object:
    """Take an object's top-level members apart; empty when it is no object."""
    if body is None:
        return {}
    try:
        return decode(body)
    except _unreadable:
        pass
    try:
        return decode(without_surrogates(bytes(body)))
    except _unreadable:
        return {}


def value(raw: msgspec.Raw | None) -> object:
    """Read any value; None when it is absent or cannot be read."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except _unreadable:
        return None


def text(raw: msgspec.Raw | None) -> str | None:
    found = value(raw)
    return found if isinstance(found, str) else None


def is_empty(raw: msgspec.Raw | None) -> bool:
    """Tell whether a value is absent, null, false or holds nothing."""
    return raw is None or bytes(raw).translate(None, b" \t\r\n") in _EMPTY


def error_text(raw: msgspec.Raw | None) -> str:
    """Read the message of an `error` member: an object with one, or text."""
    found = value(raw)
    if isinstance(found, dict):
        found = found.get("message") or found.get("code")
    if isinstance(found, str) and found:
        return found
    shown = b"" if raw is None else bytes(raw)[:_SHOWN]
    return shown.decode("utf-8", "replace") or "unspecified error"
