"""Replies of each dialect, whole and as a stream, that say the same."""

from __future__ import annotations

import json
from typing import Any

TEXT = "The quick brown fox – “jumps” 🦊 over the lazy dog.\n" * 3
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def dumped(found: object) -> bytes:
    return json.dumps(found).encode()


def sse(*found: object, named: bool = False) -> bytes:
    events = []
    for one in found:
        name = f"event: {one['type']}\n" if named and isinstance(one, dict) else ""
        data = one if isinstance(one, str) else json.dumps(one)
        events.append(f"{name}data: {data}\n\n")
    return "".join(events).encode()


def chat(finish: str | None = "stop", **message: Any) -> bytes:
    message = {"role": "assistant", "content": TEXT, **message}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return dumped({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [choice], "usage": USAGE,
    })  # fmt: skip


def chat_chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }  # fmt: skip


CHAT_USAGE = {
    "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
    "choices": [], "usage": USAGE,
}  # fmt: skip


def chat_stream(finish: str = "stop", *, usage: bool = True) -> bytes:
    return sse(
        chat_chunk({"role": "assistant"}),
        chat_chunk({"content": TEXT[:20]}),
        chat_chunk({"content": TEXT[20:]}),
        chat_chunk({}, finish),
        *([CHAT_USAGE] if usage else []),
        "[DONE]",
    )


def completion(finish: str | None = "stop") -> bytes:
    choice = {"index": 0, "text": TEXT, "logprobs": None, "finish_reason": finish}
    return dumped({
        "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m",
        "choices": [choice], "usage": USAGE,
    })  # fmt: skip


def completion_stream(*, usage: bool = True) -> bytes:
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
    return sse(
        {**head, "choices": [{"index": 0, "text": TEXT[:9], "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "text": TEXT[9:], "finish_reason": "stop"}]},
        *([{**head, "choices": [], "usage": USAGE}] if usage else []),
        "[DONE]",
    )


def message(stop: str | None = "end_turn", **more: Any) -> bytes:
    return dumped({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": TEXT}], "stop_reason": stop,
        "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 7}, **more,
    })  # fmt: skip


def message_stream(stop: str = "end_turn") -> bytes:
    begun = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [], "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 1},
    }  # fmt: skip
    block = {"type": "content_block_delta", "index": 0}
    return sse(
        {"type": "message_start", "message": begun},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        {**block, "delta": {"type": "text_delta", "text": TEXT[:20]}},
        {**block, "delta": {"type": "text_delta", "text": TEXT[20:]}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": {"output_tokens": 7},
        },
        {"type": "message_stop"},
        named=True,
    )


def response_object(status: str = "completed", **more: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": TEXT, "annotations": []}
    item = {
        "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
        "content": [part],
    }  # fmt: skip
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "m",
        "status": status, "output": [item], "error": None, "incomplete_details": None,
        "usage": {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}, **more,
    }  # fmt: skip


def response(status: str = "completed", **more: Any) -> bytes:
    return dumped(response_object(status, **more))


def response_stream(status: str = "completed", **more: Any) -> bytes:
    begun = {**response_object("in_progress"), "output": []}
    return sse(
        {"type": "response.created", "sequence_number": 0, "response": begun},
        {
            "type": f"response.{status}",
            "sequence_number": 1,
            "response": response_object(status, **more),
        },
        named=True,
    )


WHOLES = {
    "chat": chat(),
    "completions": completion(),
    "messages": message(),
    "responses": response(),
}
STREAMS = {
    "chat": chat_stream(),
    "completions": completion_stream(),
    "messages": message_stream(),
    "responses": response_stream(),
}
