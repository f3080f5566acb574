"""Writing a whole reply of /api/chat, and of /api/generate."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from providers.wire.translate.events import Finish
from providers.wire.translate.ollama.mapping import FINISH_OUT
from providers.wire.translate.reply import Choice, Reply
from providers.wire.translate.request import (
    Image,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from providers.wire.translate.streams import Context
from providers.wire.translate.toolcalls import lenient_object
from providers.wire.usage import Usage

JSON = dict[str, Any]


def write_reply(reply: Reply, context: Context) -> JSON:
    """Write a reply of /api/chat."""
    return _write(reply, context, {"message": _message(reply.first)})


def write_generated(reply: Reply, context: Context) -> JSON:
    """Write a reply of /api/generate, which has text and thinking alone."""
    message = _message(reply.first)
    said: JSON = {"response": message["content"]}
    if "thinking" in message:
        said["thinking"] = message["thinking"]
    return _write(reply, context, said)


def _write(reply: Reply, context: Context, said: JSON) -> JSON:
    choice = reply.first
    found: JSON = {
        "model": reply.model or context.model,
        "created_at": created_at(context),
        **said,
    }
    if choice.logprobs:
        found["logprobs"] = list(choice.logprobs)
    elapsed = context.elapsed_ns() if context.elapsed_ns is not None else 0
    last = ending(choice.finish or Finish.STOP, reply.usage, 0, elapsed)
    return {**found, **last}


def created_at(context: Context) -> str:
    """Write the time as Ollama does: RFC 3339, in UTC."""
    return datetime.fromtimestamp(context.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ending(finish: Finish, usage: Usage | None, first_ns: int, elapsed_ns: int) -> JSON:
    """Write what the last line adds; `first_ns`: when the first token came."""
    found: JSON = {
        "done": True,
        "done_reason": FINISH_OUT[finish],
        "total_duration": elapsed_ns,
        "load_duration": 0,
        "prompt_eval_duration": first_ns,
        "eval_duration": max(0, elapsed_ns - first_ns),
    }
    if usage is not None:
        found["prompt_eval_count"] = usage.prompt or 0
        found["eval_count"] = usage.completion or 0
    return found


def call_object(call: ToolCall) -> JSON:
    function = {"name": call.name, "arguments": lenient_object(call.arguments)}
    return {"id": call.id, "function": function}


def _message(choice: Choice) -> JSON:
    texts, thoughts, calls, images = [], [], [], []
    for part in choice.parts:
        match part:
            case Text(text=text) | Refusal(text=text):
                texts.append(text)
            case Reasoning(text=text):
                thoughts.append(text)
            case ToolCall():
                calls.append(call_object(part))
            case Image(source=source):
                images.append(source.data or "")
    found: JSON = {"role": "assistant", "content": "".join(texts)}
    if thought := "".join(thoughts):
        found["thinking"] = thought
    if calls:
        found["tool_calls"] = calls
    if images:
        found["images"] = images
    return found
