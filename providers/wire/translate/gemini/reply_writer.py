"""Writing a whole generateContent reply."""

from __future__ import annotations

from typing import Any

from providers.wire.dialect import Dialect
from providers.wire.translate.events import Cited, Finish
from providers.wire.translate.gemini.mapping import FINISH_OUT
from providers.wire.translate.media import DEFAULT_IMAGE
from providers.wire.translate.reply import Choice, Reply
from providers.wire.translate.request import (
    Audio,
    Image,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from providers.wire.translate.streams import Context
from providers.wire.translate.toolcalls import is_made, lenient_object
from providers.wire.translate.usage import to_gemini

JSON = dict[str, Any]


def write_reply(reply: Reply, context: Context) -> JSON:
    """Write a GenerateContentResponse."""
    choice = reply.first
    found: JSON = {
        "candidates": [_candidate(choice)],
        "modelVersion": reply.model or context.model,
        "responseId": reply.id or context.id,
    }
    if reply.usage is not None:
        found["usageMetadata"] = to_gemini(reply.usage)
    return found


def _candidate(choice: Choice) -> JSON:
    parts = [part for p in choice.parts if (part := part_of(p)) is not None]
    found: JSON = {
        "content": {"role": "model", "parts": parts},
        "finishReason": FINISH_OUT[choice.finish or Finish.STOP],
        "index": 0,
    }
    if choice.citations:
        chunks = [grounding_chunk(cited) for cited in choice.citations]
        found["groundingMetadata"] = {"groundingChunks": chunks}
    return found


def part_of(part: Part) -> JSON | None:
    """Write one part; None for what Gemini's replies have no word for."""
    match part:
        case Text(text=text) | Refusal(text=text):
            return {"text": text}
        case Reasoning(text=text):
            return {"text": text, "thought": True} if text else None
        case ToolCall():
            return _call(part)
        case Image(source=source):
            kind = source.media_type or DEFAULT_IMAGE
            return {"inlineData": {"mimeType": kind, "data": source.data or ""}}
        case Audio(source=source):
            kind = source.media_type or "audio/wav"
            return {"inlineData": {"mimeType": kind, "data": source.data or ""}}
    return None


def _call(call: ToolCall) -> JSON:
    function: JSON = {"name": call.name, "args": lenient_object(call.arguments)}
    if not is_made(call.id):
        function["id"] = call.id
    found: JSON = {"functionCall": function}
    if call.signature is not None:
        found["thoughtSignature"] = call.signature
    return found


def grounding_chunk(cited: Cited) -> JSON:
    if cited.origin is Dialect.GEMINI:
        return cited.raw
    return {"web": {"uri": cited.url or "", "title": cited.title or ""}}
