"""Counting a prompt's tokens by an upstream of another dialect than the caller's."""

from __future__ import annotations

from typing import Any

from providers.wire.translate.fields import load

JSON = dict[str, Any]


def write_gemini(body: JSON, model: str) -> JSON:
    """Ask Gemini to count what `body`, a request as its writer wrote it, would cost."""
    name = model if "/" in model else f"models/{model}"
    return {"generateContentRequest": {"model": name, **body}}


def read_gemini(body: bytes) -> int | None:
    """Read the answer of countTokens; None where it has none."""
    try:
        found = load(body)
    except ValueError:
        return None
    total = found.get("totalTokens") if isinstance(found, dict) else None
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        return None
    return total


def write_messages(tokens: int) -> JSON:
    """Answer as Anthropic's count_tokens does."""
    return {"input_tokens": tokens}
