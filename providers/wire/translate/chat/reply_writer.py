"""Writing a whole chat completion."""

from __future__ import annotations

from typing import Any

from providers.wire.dialect import Dialect
from providers.wire.translate.chat.mapping import FINISH_OUT
from providers.wire.translate.chat.request_writer import (
    extra_content,
    reasoning_details,
)
from providers.wire.translate.events import Cited, Finish
from providers.wire.translate.media import DEFAULT_IMAGE
from providers.wire.translate.reply import Choice, Reply
from providers.wire.translate.request import (
    Audio,
    Image,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from providers.wire.translate.streams import Context
from providers.wire.translate.usage import to_chat

JSON = dict[str, Any]


def write_reply(reply: Reply, context: Context) -> JSON:
    """Write a `chat.completion`."""
    choices = reply.choices or (Choice(),)
    found: JSON = {
        "id": reply.id or f"chatcmpl-{context.id}",
        "object": "chat.completion",
        "created": context.created if reply.created is None else reply.created,
        "model": reply.model or context.model,
        "choices": [_choice(choice, at) for at, choice in enumerate(choices)],
    }
    if reply.usage is not None:
        found["usage"] = to_chat(reply.usage)
    return found


def _choice(choice: Choice, at: int) -> JSON:
    found: JSON = {
        "index": at,
        "message": _message(choice),
        "finish_reason": FINISH_OUT[choice.finish or Finish.STOP],
    }
    if choice.logprobs:
        found["logprobs"] = {"content": list(choice.logprobs)}
    return found


def _message(choice: Choice) -> JSON:
    parts = choice.parts
    texts = [part.text for part in parts if isinstance(part, Text)]
    refusals = [part.text for part in parts if isinstance(part, Refusal)]
    thoughts = [part for part in parts if isinstance(part, Reasoning)]
    calls = [part for part in parts if isinstance(part, ToolCall)]
    found: JSON = {
        "role": "assistant",
        "content": "".join(texts) if texts else None,
        "refusal": "".join(refusals) or None,
    }
    if thought := "".join(part.text for part in thoughts):
        found["reasoning_content"] = thought
    if details := reasoning_details(thoughts):
        found["reasoning_details"] = details
    if calls:
        found["tool_calls"] = [_call(call) for call in calls]
    _write_media(choice, found)
    if notes := [note for c in choice.citations if (note := annotation(c))]:
        found["annotations"] = notes
    return found


def _write_media(choice: Choice, found: JSON) -> None:
    images = []
    for part in choice.parts:
        if isinstance(part, Image):
            source = part.source
            url = image_url(source.media_type or "", source.data, source.url)
            images.append({"type": "image_url", "image_url": {"url": url}})
        elif isinstance(part, Audio):
            found["audio"] = {
                "id": part.id or "audio_0",
                "data": part.source.data or "",
                "transcript": part.transcript or "",
                "expires_at": 0,
            }
    if images:
        found["images"] = images


def _call(call: ToolCall) -> JSON:
    function = {"name": call.name, "arguments": call.arguments}
    found: JSON = {"id": call.id, "type": "function", "function": function}
    if call.signature is not None:
        found["extra_content"] = extra_content(call.signature)
    return found


def image_url(media_type: str, data: str | None, url: str | None) -> str:
    if data is None:
        return url or ""
    return f"data:{media_type or DEFAULT_IMAGE};base64,{data}"


def annotation(cited: Cited) -> JSON | None:
    """Write a citation; None for one that chat cannot say: it knows URLs alone."""
    if cited.origin is Dialect.CHAT:
        return cited.raw
    if cited.url is None:
        return None
    return {
        "type": "url_citation",
        "url_citation": {
            "url": cited.url,
            "title": cited.title or cited.url,
            "start_index": 0,
            "end_index": 0,
        },
    }
