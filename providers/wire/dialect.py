"""The dialects spoken on either side, and how each frames a stream."""

from __future__ import annotations

from enum import StrEnum


class Dialect(StrEnum):
    CHAT = "openai-chat"
    RESPONSES = "openai-responses"
    MESSAGES = "anthropic-messages"
    OLLAMA = "ollama"
    GEMINI = "gemini"


class Framing(StrEnum):
    """How a reply's body is cut into pieces that stand for themselves.

    SSE events end at a blank line, NDJSON at a line feed; PLAIN bytes have no
    inner boundaries.
    """

    SSE = "sse"
    NDJSON = "ndjson"
    PLAIN = "plain"
