"""The objects that Responses' events and replies are made of.

Nulls stand where OpenAI has them: clients generated from its schema insist.
"""

from __future__ import annotations

from typing import Any

from providers.wire.dialect import Dialect
from providers.wire.translate.events import Cited
from providers.wire.translate.request import Request
from providers.wire.translate.responses.request_writer import (
    choice_object,
    format_object,
    reasoning_object,
    tool_objects,
)
from providers.wire.translate.streams import Context

JSON = dict[str, Any]


def response_id(context: Context) -> str:
    return f"resp_{context.id}"


def response_object(context: Context, model: str) -> JSON:
    """Build a response in progress, with what the caller asked told back."""
    request = context.request or Request(Dialect.RESPONSES, model, ())
    parallel = request.parallel_tools
    system = "\n\n".join(text.text for text in request.system)
    form = request.response_format
    return {
        "id": response_id(context),
        "object": "response",
        "created_at": context.created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": system or None,
        "max_output_tokens": request.max_tokens,
        "metadata": dict(request.metadata),
        "model": model,
        "output": [],
        "parallel_tool_calls": True if parallel is None else parallel,
        "previous_response_id": request.previous_response,
        "reasoning": {"effort": None, "summary": None, **reasoning_object(request)},
        "store": True if request.store is None else request.store,
        "temperature": request.sampling.temperature,
        "text": {"format": format_object(form) if form else {"type": "text"}},
        "tool_choice": choice_object(request.tool_choice, request),
        "tools": tool_objects(request),
        "top_p": request.sampling.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": request.user,
    }


def message_item(item_id: str, content: list[JSON], status: str) -> JSON:
    return {
        "id": item_id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def text_part(text: str, notes: list[JSON], logprobs: list[JSON]) -> JSON:
    return {
        "type": "output_text",
        "text": text,
        "annotations": notes,
        "logprobs": logprobs,
    }


def reasoning_item(item_id: str, text: str, sealed: str | None) -> JSON:
    summary = [{"type": "summary_text", "text": text}] if text else []
    found: JSON = {"id": item_id, "type": "reasoning", "summary": summary}
    if sealed is not None:
        found["encrypted_content"] = sealed
    return found


def call_item(
    item_id: str, call_id: str, name: str, arguments: str, status: str
) -> JSON:
    return {
        "id": item_id,
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def custom_item(item_id: str, call_id: str, name: str, text: str, status: str) -> JSON:
    return {
        "id": item_id,
        "type": "custom_tool_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "input": text,
    }


def image_item(item_id: str, data: str) -> JSON:
    return {
        "id": item_id,
        "type": "image_generation_call",
        "status": "completed",
        "result": data,
    }


def annotation(cited: Cited) -> JSON | None:
    """Write a citation; None for one that is neither OpenAI's nor a page's."""
    if cited.origin is Dialect.RESPONSES:
        return cited.raw
    if cited.url is None:
        return None
    return {
        "type": "url_citation",
        "url": cited.url,
        "title": cited.title or cited.url,
        "start_index": 0,
        "end_index": 0,
    }
