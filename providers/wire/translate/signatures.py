"""Reasoning signatures carried by a dialect that is not theirs.

A vendor accepts its own signatures alone. Carried through another dialect's field
they are marked with where they came from, so that they find their way back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from providers.wire.dialect import Dialect
from providers.wire.translate.request import Part, Reasoning, ToolCall

_PREFIX: Final = "x-local-ai:"


def seal(signature: str, origin: Dialect | None, carrier: Dialect) -> str:
    """Write a signature into `carrier`'s field."""
    if origin is None or origin is carrier:
        return signature
    return f"{_PREFIX}{origin.value}:{signature}"


def unseal(text: str, carrier: Dialect) -> tuple[str, Dialect]:
    """Read `carrier`'s field: the signature, and whose it is."""
    if not text.startswith(_PREFIX):
        return text, carrier
    name, _, signature = text[len(_PREFIX) :].partition(":")
    try:
        return signature, Dialect(name)
    except ValueError:
        return text, carrier


def has_sealed(body: bytes) -> bool:
    """Tell whether a body may hold a signature that is not of its own dialect: such
    a one must not go to a provider as it is.
    """
    return _PREFIX.encode() in body


def with_signatures(parts: Iterable[Part]) -> list[Part]:
    """Put the thought signature of each tool call into the reasoning before it.

    For dialects whose tool calls have no place for one.
    """
    found: list[Part] = []
    for part in parts:
        if isinstance(part, ToolCall) and part.signature is not None:
            text = ""
            if found and _is_unsigned(found[-1]):
                text = getattr(found.pop(), "text", "")
            found.append(Reasoning(text, part.signature, Dialect.GEMINI))
        found.append(part)
    return found


def _is_unsigned(part: Part) -> bool:
    return isinstance(part, Reasoning) and not (part.signature or part.redacted)
