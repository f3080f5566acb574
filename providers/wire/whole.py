"""What a whole reply tells: its usage, its Responses id, an error despite its 200.

Only what is asked for is parsed, and nothing beyond LIMIT_BYTES: larger replies
stream through and are not held.
"""

from __future__ import annotations

from typing import Final

import msgspec

from providers.wire.counts import (
    anthropic_usage,
    ollama_usage,
    openai_usage,
    openai_usage_in,
)
from providers.wire.dialect import Dialect
from providers.wire.peek import Object, error_text, is_empty, peek, text
from providers.wire.usage import Usage

LIMIT_BYTES: Final = 8 << 20

# Bound once: to ask an Enum for a member costs what two calls cost.
_CHAT, _RESPONSES = Dialect.CHAT, Dialect.RESPONSES
_any_decoder: Final = msgspec.json.Decoder(msgspec.Raw)
_list_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ANSWERS: Final = (
    "choices",
    "content",
    "output",
    "data",
    "results",
    "message",
    "response",
    "embedding",
    "embeddings",
    "candidates",
)


def read_usage(dialect: Dialect, body: bytes) -> Usage | None:
    """Read what a whole reply says it used; None where it does not say."""
    is_small = len(body) <= LIMIT_BYTES
    if (
        is_small
        and (dialect is _CHAT or dialect is _RESPONSES)
        and (usage := openai_usage_in(body)) is not None
    ):
        return usage
    members = _members(body)
    if dialect is Dialect.OLLAMA:
        return ollama_usage(members)
    if dialect is Dialect.MESSAGES:
        return anthropic_usage(members.get("usage"))
    return openai_usage(members.get("usage"))


def is_json(body: bytes) -> bool:
    """Tell whether a body is one whole JSON object or list; too large a one passes."""
    if len(body) > LIMIT_BYTES:
        return True
    try:
        _any_decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return bool(_members(body))
    return body.lstrip()[:1] in (b"{", b"[")


def read_response_id(body: bytes) -> str | None:
    """Read the id of a Responses object."""
    members = _members(body)
    if text(members.get("object")) != "response":
        return None
    return text(members.get("id"))


def read_error(body: bytes) -> str | None:
    """Read the message of a reply that is an error and holds no answer.

    Some providers send one with status 200; Google's comes in a list of one.
    """
    if b'"error"' not in body:
        return None
    members = _members(body) or _only_entry(body)
    if is_empty(error := members.get("error")):
        return None
    if any(not is_empty(members.get(name)) for name in _ANSWERS):
        return None
    if text(members.get("object")) == "response":
        return None  # a response that failed is an answer, with its own status
    return error_text(error)


def _members(body: bytes) -> Object:
    return {} if len(body) > LIMIT_BYTES else peek(body)


def _only_entry(body: bytes) -> Object:
    if len(body) > LIMIT_BYTES or not body.lstrip().startswith(b"["):
        return {}
    try:
        entries = _list_decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return peek(entries[0]) if len(entries) == 1 else {}
