"""A fake server of /v1: OpenAI's dialects, and Anthropic's messages beside them."""

from __future__ import annotations

from typing import Any

from tests.fakes.upstream import (
    SSE_TYPE,
    Answer,
    FakeUpstream,
    Json,
    Maker,
    Received,
    sse,
)

WORDS = ("Hello", " from", " the", " fake")
USAGE = {"prompt_tokens": 7, "completion_tokens": len(WORDS), "total_tokens": 11}


class FakeOpenAI(FakeUpstream):
    """`owned_by` is what its list says, `models` are the ids it serves."""

    def __init__(
        self, models: tuple[str, ...] = ("fake-model",), owned_by: str = "fake"
    ) -> None:
        self.models = models
        self.owned_by = owned_by
        super().__init__()

    def routes(self) -> dict[str, Maker]:
        return {
            "GET /v1/models": self.list_models,
            "POST /v1/chat/completions": self.chat,
            "POST /v1/completions": self.completion,
            "POST /v1/embeddings": self.embed,
            "POST /v1/responses": self.respond,
            "POST /v1/messages": self.message,
            "POST /v1/messages/count_tokens": lambda _: Answer.of({"input_tokens": 7}),
        }

    def elsewhere(self, request: Received) -> Answer:
        message = f"Invalid URL ({request.method} {request.target})"
        return Answer.of(openai_error(message, "invalid_request_error"), 404)

    def list_models(self, request: Received) -> Answer:
        data = [
            {"id": name, "object": "model", "created": 1, "owned_by": self.owned_by}
            for name in self.models
        ]
        return Answer.of({"object": "list", "data": data})

    def chat(self, request: Received) -> Answer:
        asked = request.json()
        if (wrong := self.wrong_model(asked)) is not None:
            return wrong
        if asked.get("stream"):
            return Answer(200, chat_stream(asked), SSE_TYPE)
        message = {"role": "assistant", "content": "".join(WORDS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return Answer.of(_completion(asked, "chat.completion", [choice], usage=USAGE))

    def completion(self, request: Received) -> Answer:
        asked = request.json()
        choice = {"index": 0, "text": "".join(WORDS), "finish_reason": "stop"}
        if not asked.get("stream"):
            return Answer.of(
                _completion(asked, "text_completion", [choice], usage=USAGE)
            )
        chunks = [
            _completion(asked, "text_completion", [{"index": 0, "text": word}])
            for word in WORDS
        ]
        return Answer(200, sse(*chunks, "[DONE]"), SSE_TYPE)

    def embed(self, request: Received) -> Answer:
        asked = request.json()
        inputs = (
            asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        )
        data = [
            {"object": "embedding", "index": index, "embedding": [0.25, -0.5]}
            for index in range(len(inputs))
        ]
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        model = asked["model"]
        return Answer.of(
            {"object": "list", "data": data, "model": model, "usage": usage}
        )

    def respond(self, request: Received) -> Answer:
        asked = request.json()
        if asked.get("stream"):
            return Answer(200, response_stream(asked), SSE_TYPE)
        return Answer.of(_response(asked, "completed"))

    def message(self, request: Received) -> Answer:
        asked = request.json()
        if asked["model"] not in self.models:
            return Answer.of(anthropic_error("not_found_error", asked["model"]), 404)
        if asked.get("stream"):
            return Answer(200, message_stream(asked), SSE_TYPE)
        content = [{"type": "text", "text": "".join(WORDS)}]
        return Answer.of(_message(asked, content, "end_turn", len(WORDS)))

    def wrong_model(self, asked: Json) -> Answer | None:
        if asked.get("model") in self.models:
            return None
        message = f"The model `{asked.get('model')}` does not exist"
        kind = "invalid_request_error"
        return Answer.of(openai_error(message, kind, "model_not_found", "model"), 404)


def openai_error(
    message: str, kind: str, code: str | None = None, param: str | None = None
) -> Json:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic_error(kind: str, message: str) -> Json:
    error = {"type": kind, "message": message}
    return {"type": "error", "error": error, "request_id": "req_fake"}


def chat_stream(asked: Json) -> tuple[bytes, ...]:
    """The events of a streamed chat: a role, words, an end, usage if asked, [DONE]."""
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in WORDS]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    kind = "chat.completion.chunk"
    chunks: list[Any] = [_completion(asked, kind, [choice]) for choice in choices]
    if (asked.get("stream_options") or {}).get("include_usage"):
        chunks.append(_completion(asked, kind, [], usage=USAGE))
    return sse(*chunks, "[DONE]")


def message_stream(asked: Json) -> tuple[bytes, ...]:
    """The events of a streamed message, a ping among them."""
    block = {"type": "text", "text": ""}
    deltas = [{"type": "text_delta", "text": word} for word in WORDS]
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    return sse(
        {"type": "message_start", "message": _message(asked, [], None, 1)},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": d} for d in deltas),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": ending,
            "usage": {"output_tokens": len(WORDS)},
        },
        {"type": "message_stop"},
        named=True,
    )


def response_stream(asked: Json) -> tuple[bytes, ...]:
    """The core events of a streamed response, numbered."""
    place = {"item_id": "msg_fake", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    item = _response(asked, "completed")["output"][0]
    opened = item | {"status": "in_progress", "content": []}
    full = part | {"text": "".join(WORDS)}
    delta = {"type": "response.output_text.delta", **place}
    done = {"type": "response.output_text.done", **place, "text": full["text"]}
    steps: list[Json] = [
        {"type": "response.created", "response": _response(asked, "in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": opened},
        {"type": "response.content_part.added", **place, "part": part},
        *(delta | {"delta": word} for word in WORDS),
        done,
        {"type": "response.content_part.done", **place, "part": full},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": _response(asked, "completed")},
    ]
    numbered = [step | {"sequence_number": n} for n, step in enumerate(steps)]
    return sse(*numbered, named=True)


def _completion(asked: Json, kind: str, choices: list[Json], **more: Any) -> Json:
    head = {
        "id": "chatcmpl-fake",
        "object": kind,
        "created": 1,
        "model": asked["model"],
    }
    return {**head, "choices": choices, **more}


def _message(
    asked: Json, content: list[Json], stop_reason: str | None, output_tokens: int
) -> Json:
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": output_tokens},
    }


def _response(asked: Json, status: str) -> Json:
    done = status == "completed"
    part = {"type": "output_text", "text": "".join(WORDS), "annotations": []}
    item = {
        "type": "message",
        "id": "msg_fake",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    usage = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": len(WORDS),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 11,
    }
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": asked["model"],
        "output": [item] if done else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage if done else None,
    }
