"""How the demo provider answers in each dialect, whole and as a stream of events.

Pure: an Answer in, JSON objects or SSE events out. Framing and timing are the
affair of providers.demo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson
from msgspec import Struct

from providers import demo_answer
from providers.demo_answer import Answer

Json = dict[str, Any]

CREATED: Final = 1_735_689_600  # nothing here reads a clock
MODELS: Final = ("demo", "demo-embed")


class Dialogue(Struct, frozen=True):
    """How one path answers: what it is asked with, whole and as events."""

    answer: Callable[[Json, str], Answer]
    whole: Callable[[Answer], Json]
    events: Callable[[Answer, Json], Iterator[bytes]]


def models() -> Json:
    """The answer to GET /v1/models."""
    data = [
        {"id": name, "object": "model", "created": CREATED, "owned_by": "local-ai-demo"}
        for name in MODELS
    ]
    return {"object": "list", "data": data}


def error_body(path: str, status: int, message: str, code: str | None) -> bytes:
    """An error in the dialect of `path`."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    if path.startswith("/v1/messages"):
        kind = "api_error" if status >= 500 else kind
        return _json({"type": "error", "error": {"type": kind, "message": message}})
    error = {"message": message, "type": kind, "param": None, "code": code}
    return _json({"error": error})


# --- chat and completions ---------------------------------------------------------


def _chat_whole(answer: Answer) -> Json:
    message: Json = {"role": "assistant", "content": answer.text}
    if answer.tool is not None:
        call = {
            "id": f"call_{answer.id}",
            "type": "function",
            "function": {"name": answer.tool, "arguments": "{}"},
        }
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": _finish(answer)}
    return _openai(answer, "chat.completion", choice) | {"usage": _usage(answer)}


def _chat_events(answer: Answer, request: Json) -> Iterator[bytes]:
    for delta in _chat_deltas(answer):
        yield _chunk(answer, {"index": 0, "delta": delta, "finish_reason": None})
    yield _chunk(answer, {"index": 0, "delta": {}, "finish_reason": _finish(answer)})
    if _wants_usage(request):
        whole = _openai(answer, "chat.completion.chunk") | {"usage": _usage(answer)}
        yield _sse(whole)
    yield b"data: [DONE]\n\n"


def _chat_deltas(answer: Answer) -> Iterator[Json]:
    if answer.tool is None:
        yield {"role": "assistant", "content": ""}
        for word in answer.words:
            yield {"content": word}
        return
    function: Json = {"name": answer.tool, "arguments": ""}
    call = {"index": 0, "id": f"call_{answer.id}", "type": "function"}
    yield {"role": "assistant", "tool_calls": [call | {"function": function}]}
    for piece in ("{", "}"):
        yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


def _chunk(answer: Answer, choice: Json) -> bytes:
    return _sse(_openai(answer, "chat.completion.chunk", choice))


def _completion_whole(answer: Answer) -> Json:
    choice = {"index": 0, "text": answer.text, "finish_reason": _finish(answer)}
    return _openai(answer, "text_completion", choice) | {"usage": _usage(answer)}


def _completion_events(answer: Answer, request: Json) -> Iterator[bytes]:
    for word in answer.words:
        choice = {"index": 0, "text": word, "finish_reason": None}
        yield _sse(_openai(answer, "text_completion", choice))
    last = {"index": 0, "text": "", "finish_reason": _finish(answer)}
    yield _sse(_openai(answer, "text_completion", last))
    if _wants_usage(request):
        yield _sse(_openai(answer, "text_completion") | {"usage": _usage(answer)})
    yield b"data: [DONE]\n\n"


def _openai(answer: Answer, kind: str, *choices: Json) -> Json:
    head = {"id": answer.id, "object": kind, "created": CREATED, "model": answer.model}
    return head | {"choices": list(choices)}


def _finish(answer: Answer) -> str:
    if answer.tool is not None:
        return "tool_calls"
    return "length" if answer.cut else "stop"


def _usage(answer: Answer) -> Json:
    prompt, completion = answer.prompt_tokens, answer.completion_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _wants_usage(request: Json) -> bool:
    options = request.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


# --- responses ----------------------------------------------------------------------


def _response_whole(answer: Answer) -> Json:
    state = "incomplete" if answer.cut else "completed"
    return _response(answer, state, [_response_item(answer, "completed")])


def _response(answer: Answer, state: str, output: list[Json]) -> Json:
    prompt, completion = answer.prompt_tokens, answer.completion_tokens
    cut = {"reason": "max_output_tokens"} if answer.cut and output else None
    usage = {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }
    return {
        "id": answer.id,
        "object": "response",
        "created_at": CREATED,
        "status": state,
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": cut,
        "usage": usage if output else None,
    }


def _response_item(answer: Answer, state: str) -> Json:
    done = state == "completed"
    if answer.tool is not None:
        return {
            "type": "function_call",
            "id": f"fc_{answer.id}",
            "call_id": f"call_{answer.id}",
            "name": answer.tool,
            "arguments": "{}" if done else "",
            "status": state,
        }
    part = {"type": "output_text", "text": answer.text, "annotations": []}
    return {
        "type": "message",
        "id": f"msg_{answer.id}",
        "role": "assistant",
        "status": state,
        "content": [part] if done else [],
    }


def _response_events(answer: Answer, request: Json) -> Iterator[bytes]:
    del request  # usage is always part of this dialect's last event
    for number, event in enumerate(_response_steps(answer)):
        yield _named(event | {"sequence_number": number})


def _response_steps(answer: Answer) -> Iterator[Json]:
    begun = _response(answer, "in_progress", [])
    item = _response_item(answer, "completed")
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    opened = _response_item(answer, "in_progress")
    yield {"type": "response.output_item.added", "output_index": 0, "item": opened}
    place = {"item_id": item["id"], "output_index": 0}
    yield from _tool_steps(place) if answer.tool else _text_steps(answer, place)
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    ending = "response.incomplete" if answer.cut else "response.completed"
    yield {"type": ending, "response": _response_whole(answer)}


def _text_steps(answer: Answer, place: Json) -> Iterator[Json]:
    place = place | {"content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": []}
    yield place | {"type": "response.content_part.added", "part": empty}
    for word in answer.words:
        yield place | {"type": "response.output_text.delta", "delta": word}
    yield place | {"type": "response.output_text.done", "text": answer.text}
    full = empty | {"text": answer.text}
    yield place | {"type": "response.content_part.done", "part": full}


def _tool_steps(place: Json) -> Iterator[Json]:
    kind = "response.function_call_arguments"
    for piece in ("{", "}"):
        yield place | {"type": f"{kind}.delta", "delta": piece}
    yield place | {"type": f"{kind}.done", "arguments": "{}"}


# --- messages -----------------------------------------------------------------------


def _message_whole(answer: Answer) -> Json:
    block: Json = {"type": "text", "text": answer.text}
    if answer.tool is not None:
        block = _tool_use(answer)
    ending = {"content": [block], "stop_reason": _stop_reason(answer)}
    return _message(answer, answer.completion_tokens) | ending


def _message(answer: Answer, output_tokens: int) -> Json:
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": answer.prompt_tokens,
            "output_tokens": output_tokens,
        },
    }


def _message_events(answer: Answer, request: Json) -> Iterator[bytes]:
    del request  # as for responses
    yield _named({"type": "message_start", "message": _message(answer, 0)})
    block: Json = {"type": "text", "text": ""}
    deltas: list[Json] = [{"type": "text_delta", "text": word} for word in answer.words]
    if answer.tool is not None:
        block = _tool_use(answer)
        pieces = ("{", "}")
        deltas = [{"type": "input_json_delta", "partial_json": p} for p in pieces]
    yield _named({"type": "content_block_start", "index": 0, "content_block": block})
    for delta in deltas:
        yield _named({"type": "content_block_delta", "index": 0, "delta": delta})
    yield _named({"type": "content_block_stop", "index": 0})
    reason = {"stop_reason": _stop_reason(answer), "stop_sequence": None}
    usage = {"output_tokens": answer.completion_tokens}
    yield _named({"type": "message_delta", "delta": reason, "usage": usage})
    yield _named({"type": "message_stop"})


def _tool_use(answer: Answer) -> Json:
    use = {"type": "tool_use", "id": f"toolu_{answer.id}"}
    return use | {"name": answer.tool, "input": {}}


def _stop_reason(answer: Answer) -> str:
    if answer.tool is not None:
        return "tool_use"
    return "max_tokens" if answer.cut else "end_turn"


# --- events ---------------------------------------------------------------------------


def _sse(document: Json) -> bytes:
    return b"data: " + _json(document) + b"\n\n"


def _named(event: Json) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\n" + _sse(event)


def _json(document: Json) -> bytes:
    return orjson.dumps(document)


DIALOGUES: Final[Mapping[str, Dialogue]] = MappingProxyType({
    "/v1/chat/completions": Dialogue(demo_answer.chat_answer, _chat_whole, _chat_events),
    "/v1/completions": Dialogue(
        demo_answer.completion_answer, _completion_whole, _completion_events
    ),
    "/v1/responses": Dialogue(demo_answer.response_answer, _response_whole, _response_events),
    "/v1/messages": Dialogue(demo_answer.message_answer, _message_whole, _message_events),
})  # fmt: skip
