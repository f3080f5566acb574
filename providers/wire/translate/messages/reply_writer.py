"""Writing a whole message."""

from __future__ import annotations

from typing import Any

from providers.wire.dialect import Dialect
from providers.wire.translate.events import Cited, Finish
from providers.wire.translate.messages.mapping import FINISH_OUT
from providers.wire.translate.reply import Choice, Reply
from providers.wire.translate.request import (
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from providers.wire.translate.signatures import seal, with_signatures
from providers.wire.translate.streams import Context
from providers.wire.translate.toolcalls import lenient_object
from providers.wire.translate.usage import to_anthropic
from providers.wire.usage import Usage

JSON = dict[str, Any]


def write_reply(reply: Reply, context: Context) -> JSON:
    """Write a message."""
    choice = reply.first
    return {
        "id": message_id(reply.id, context),
        "type": "message",
        "role": "assistant",
        "model": reply.model or context.model,
        "content": _content(choice),
        "stop_reason": FINISH_OUT[_reason(choice)],
        "stop_sequence": choice.stop_sequence,
        "usage": to_anthropic(reply.usage or Usage(prompt=context.prompt_tokens)),
    }


def message_id(found: str, context: Context) -> str:
    """Keep an id of Anthropic's form, make one otherwise."""
    return found if found.startswith("msg_") else f"msg_{context.id}"


def _reason(choice: Choice) -> Finish:
    finish = choice.finish or Finish.STOP
    refused = any(isinstance(part, Refusal) for part in choice.parts)
    return Finish.REFUSAL if refused and finish is Finish.STOP else finish


def _content(choice: Choice) -> list[JSON]:
    parts = with_signatures(choice.parts)
    found = [block for part in parts if (block := _block(part)) is not None]
    texts = [block for block in found if block["type"] == "text"]
    cited = [note for c in choice.citations if (note := citation(c)) is not None]
    if texts and cited:
        texts[-1]["citations"] = cited
    return found


def _block(part: Part) -> JSON | None:
    match part:
        case Text(text=text) | Refusal(text=text):
            return {"type": "text", "text": text}
        case Reasoning():
            return _thought(part)
        case ToolCall():
            return {
                "type": "tool_use",
                "id": part.id,
                "name": part.name,
                "input": lenient_object(part.arguments),
            }
    return None


def _thought(part: Reasoning) -> JSON:
    if part.redacted is not None:
        data = seal(part.redacted, part.origin, Dialect.MESSAGES)
        return {"type": "redacted_thinking", "data": data}
    signature = seal(part.signature or "", part.origin, Dialect.MESSAGES)
    return {
        "type": "thinking",
        "thinking": part.text,
        "signature": signature if part.signature else "",
    }


def citation(cited: Cited) -> JSON | None:
    """Write a citation: Anthropic's own, or a page on the web."""
    if cited.origin is Dialect.MESSAGES:
        return cited.raw
    if cited.url is None:
        return None
    return {
        "type": "web_search_result_location",
        "url": cited.url,
        "title": cited.title or cited.url,
        "cited_text": cited.quote or "",
        "encrypted_index": "",
    }
