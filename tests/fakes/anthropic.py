"""A fake of Anthropic's API: as strict as the real one where that has been seen."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.openai import anthropic_error
from tests.fakes.talk import (
    CACHED_TOKENS,
    PROMPT_TOKENS,
    SIGNATURE,
    WRITTEN_TOKENS,
    Heard,
    Talk,
    Talker,
)
from tests.fakes.upstream import (
    SSE_TYPE,
    Answer,
    FakeUpstream,
    Json,
    Maker,
    Received,
    sse,
)

OLDER, NEWEST = "claude-haiku-4-5", "claude-opus-4-8"
KEY = "sk-ant-fake"
BETAS = frozenset({
    "claude-code-20250219", "context-management-2025-06-27", "effort-2025-11-24",
    "interleaved-thinking-2025-05-14", "mid-conversation-system-2026-04-07",
    "prompt-caching-scope-2026-01-05", "thinking-token-count-2026-05-13",
})  # fmt: skip
MEMBERS = frozenset({
    "cache_control", "container", "context_management", "inference_geo", "max_tokens",
    "messages", "metadata", "model", "output_config", "service_tier", "stop_sequences",
    "stream", "system", "temperature", "thinking", "tool_choice", "tools", "top_k",
    "top_p",
})  # fmt: skip
STOP_REASONS = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "refusal": "refusal",
    "context": "model_context_window_exceeded",
}
FRESH_TOKENS = PROMPT_TOKENS - CACHED_TOKENS - WRITTEN_TOKENS


class FakeAnthropic(Talker, FakeUpstream):
    """Serves two models: an older one, and one that refuses sampling and budgets."""

    def __init__(self, models: tuple[str, ...] = (OLDER, NEWEST)) -> None:
        self.models = models
        super().__init__()

    def routes(self) -> dict[str, Maker]:
        return {
            "GET /v1/models": self.list_models,
            "POST /v1/messages": self.message,
            "POST /v1/messages/count_tokens": self.count,
            **{f"GET /v1/models/{name}": self.show for name in self.models},
        }

    def elsewhere(self, request: Received) -> Answer:
        return self._refuse_key(request) or error(404, "not_found_error", "Not Found")

    def talk_path(self, model: str = OLDER, *, stream: bool = False) -> str:
        """Where `script` has to stand in the way of a conversation."""
        return "/v1/messages"

    def fault(self, name: str) -> Answer:
        """An answer that goes wrong; the names are the same in all fakes."""
        return FAULTS[name]()

    def list_models(self, request: Received) -> Answer:
        data = [entry(name) for name in self.models]
        first, last = self.models[0], self.models[-1]
        whole = {"data": data, "has_more": False, "first_id": first, "last_id": last}
        return self._refuse_key(request) or Answer.of(whole)

    def show(self, request: Received) -> Answer:
        name = request.target.rpartition("/")[2]
        return self._refuse_key(request) or Answer.of(entry(name))

    def count(self, request: Received) -> Answer:
        refused = self._refuse_key(request) or self._refuse(request, counts=True)
        return refused or Answer.of({"input_tokens": PROMPT_TOKENS})

    def message(self, request: Received) -> Answer:
        refused = self._refuse_key(request) or self._refuse(request)
        if refused is not None:
            return refused
        asked = request.json()
        talk = self.talk_for(heard(asked))
        if asked.get("stream"):
            return Answer(200, stream(asked["model"], talk), SSE_TYPE)
        return Answer.of(whole(asked["model"], talk))

    def _refuse_key(self, request: Received) -> Answer | None:
        sent = request.header("x-api-key") or request.header("authorization")
        if sent is None:
            return error(401, "authentication_error", "x-api-key header is required")
        if sent.removeprefix("Bearer ") != KEY:
            return error(401, "authentication_error", "invalid x-api-key")
        if request.header("anthropic-version") is None:
            return _wrong("anthropic-version: header is required")
        flags = (request.header("anthropic-beta") or "").split(",")
        for flag in (item.strip() for item in flags):
            if flag and flag not in BETAS:
                said = f"Unexpected value(s) `{flag}` for the `anthropic-beta` header."
                return _wrong(said)
        return None

    def _refuse(self, request: Received, *, counts: bool = False) -> Answer | None:
        asked = request.json()
        for name in asked.keys() - MEMBERS:
            return _wrong(f"{name}: Extra inputs are not permitted")
        for name in (
            ("model", "messages") if counts else ("model", "max_tokens", "messages")
        ):
            if name not in asked:
                return _wrong(f"{name}: Field required")
        if asked["model"] not in self.models:
            return error(404, "not_found_error", f"model: {asked['model']}")
        flags = request.header("anthropic-beta") or ""
        return (
            _wrong_sampling(asked)
            or _wrong_thinking(asked)
            or _wrong_turns(asked, takes_system="mid-conversation-system" in flags)
        )


def error(status: int, kind: str, message: str, **changes: Any) -> Answer:
    return Answer.of(anthropic_error(kind, message), status, **changes)


def _wrong(message: str) -> Answer:
    return error(400, "invalid_request_error", message)


def _wrong_sampling(asked: Json) -> Answer | None:
    sampling = [name for name in ("temperature", "top_p", "top_k") if name in asked]
    if asked["model"] == NEWEST and sampling:
        return _wrong(f"`{sampling[0]}` is deprecated for this model.")
    if {"temperature", "top_p"} <= set(sampling):
        return _wrong(
            "`temperature` and `top_p` cannot both be specified for this model. "
            "Please use only one."
        )
    if asked.get("temperature", 0) > 1:
        return _wrong("temperature: range: 0..1")
    return None


def _wrong_thinking(asked: Json) -> Answer | None:
    thinking = asked.get("thinking") or {}
    if thinking.get("type") == "adaptive" and asked["model"] != NEWEST:
        return _wrong("adaptive thinking is not supported on this model")
    if thinking.get("type") != "enabled":
        return None
    if asked["model"] == NEWEST:
        return _wrong(
            '"thinking.type.enabled" is not supported for this model. Use '
            '"thinking.type.adaptive" and "output_config.effort" instead.'
        )
    if thinking["budget_tokens"] < 1024:
        return _wrong("thinking.enabled.budget_tokens: should be at least 1024")
    if thinking["budget_tokens"] >= asked.get("max_tokens", 1 << 30):
        return _wrong("`max_tokens` must be greater than `thinking.budget_tokens`")
    if "temperature" in asked or "top_k" in asked:
        return _wrong("`temperature` may only be set to 1 when thinking is enabled")
    return None


def _wrong_turns(asked: Json, *, takes_system: bool) -> Answer | None:
    turns = asked["messages"]
    if not turns:
        return _wrong("messages: at least one message is required")
    if takes_system:
        spoken = [turn for turn in turns if turn["role"] != "system"]
        if asked["model"] != NEWEST and spoken != turns:
            return _wrong("role 'system' is not supported on this model")
        turns = spoken
    called: set[str] = set()
    for at, turn in enumerate(turns):
        if turn["role"] not in ("user", "assistant"):
            return _wrong(f"messages.{at}.role: Input should be 'user' or 'assistant'")
        blocks = turn["content"] if isinstance(turn["content"], list) else []
        for block in blocks:
            if block["type"] == "text" and not block["text"]:
                return _wrong("messages: text content blocks must be non-empty")
            if block["type"] == "thinking" and block["signature"] != SIGNATURE:
                return _wrong(f"messages.{at}: Invalid `signature` in `thinking` block")
        results = {b["tool_use_id"] for b in blocks if b["type"] == "tool_result"}
        if results != called:
            odd = min(results ^ called)
            kind = "tool_use" if odd in called else "tool_result"
            return _wrong(f"messages.{at}: `{kind}` without its counterpart: {odd}")
        called = {block["id"] for block in blocks if block["type"] == "tool_use"}
    if called:
        return _wrong("`tool_use` ids were found without `tool_result` blocks after")
    if turns[-1]["role"] == "assistant" and asked["model"] == NEWEST:
        return _wrong("This model does not support assistant message prefill.")
    return None


def heard(asked: Json) -> Heard:
    choice = asked.get("tool_choice") or {}
    tools = [tool["name"] for tool in asked.get("tools") or () if "name" in tool]
    if choice.get("type") == "tool":
        tools = [choice["name"]]
    content = asked["messages"][-1]["content"]
    blocks = content if isinstance(content, list) else []
    form = (asked.get("output_config") or {}).get("format") or {}
    return Heard(
        tools=() if choice.get("type") == "none" else tuple(tools),
        has_result=any(block["type"] == "tool_result" for block in blocks),
        only_one_call=choice.get("disable_parallel_tool_use", False),
        wants_json=form.get("type") == "json_schema",
        thinks=(asked.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
        stop=tuple(asked.get("stop_sequences") or ()),
        max_tokens=asked["max_tokens"],
    )


def whole(model: str, talk: Talk) -> Json:
    return _message(model) | {
        "content": list(map(_block, _parts(talk))),
        "stop_reason": STOP_REASONS[talk.finish],
        "stop_sequence": talk.stop_sequence,
        "usage": _usage(talk.tokens) | _details(talk),
    }


def stream(model: str, talk: Talk) -> tuple[bytes, ...]:
    events: list[Json] = [
        {"type": "message_start", "message": _message(model)},
        {"type": "ping"},
    ]
    for index, part in enumerate(_parts(talk)):
        events.append(
            {"type": "content_block_start", "index": index, "content_block": part[0]}
        )
        events += [
            {"type": "content_block_delta", "index": index, "delta": delta}
            for delta in part[1]
        ]
        events.append({"type": "content_block_stop", "index": index})
    ending = {
        "stop_reason": STOP_REASONS[talk.finish],
        "stop_sequence": talk.stop_sequence,
    }
    usage = {"output_tokens": talk.tokens} | _details(talk)
    events.append({"type": "message_delta", "delta": ending, "usage": usage})
    return sse(*events, {"type": "message_stop"}, named=True)


Part = tuple[Json, list[Json]]


def _parts(talk: Talk) -> list[Part]:
    """Each block as a stream opens it, and the deltas that fill it."""
    found: list[Part] = []
    if talk.thinking:
        deltas: list[Json] = [
            {"type": "thinking_delta", "thinking": piece} for piece in talk.thought
        ]
        deltas.append({"type": "signature_delta", "signature": SIGNATURE})
        found.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    if talk.text:
        deltas = [{"type": "text_delta", "text": piece} for piece in talk.pieces]
        found.append(({"type": "text", "text": ""}, deltas))
    for call in talk.calls:
        text = json.dumps(dict(call.arguments))
        halves = [text[: len(text) // 2], text[len(text) // 2 :]]
        deltas = [{"type": "input_json_delta", "partial_json": ""}]
        deltas += [{"type": "input_json_delta", "partial_json": h} for h in halves]
        opened = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        found.append((opened, deltas))
    return found


def _block(part: Part) -> Json:
    """The block as it is when all its deltas have come."""
    block = dict(part[0])
    arguments = ""
    for delta in part[1]:
        if delta["type"] == "input_json_delta":
            arguments += delta["partial_json"]
            continue
        name = delta["type"].removesuffix("_delta")
        block[name] = block[name] + delta[name]
    return block | {"input": json.loads(arguments)} if arguments else block


def _message(model: str) -> Json:
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(1),
    }


def _usage(output: int) -> Json:
    return {
        "input_tokens": FRESH_TOKENS,
        "cache_creation_input_tokens": WRITTEN_TOKENS,
        "cache_read_input_tokens": CACHED_TOKENS,
        "output_tokens": output,
    }


def _details(talk: Talk) -> Json:
    if not talk.thinking:
        return {}
    return {"output_tokens_details": {"thinking_tokens": len(talk.thought)}}


def entry(name: str) -> Json:
    is_new = name == NEWEST
    yes = {"supported": True}
    return {
        "type": "model",
        "id": name,
        "display_name": name.title(),
        "created_at": "2026-05-01T00:00:00Z",
        "lifecycle": "active",
        "line": name.split("-")[1],
        "max_input_tokens": 1_000_000 if is_new else 200_000,
        "max_tokens": 128_000 if is_new else 64_000,
        "capabilities": {
            "image_input": yes,
            "structured_outputs": yes,
            "thinking": yes,
        },
    }


def _begun(*more: bytes, cut: bool = False) -> Answer:
    """A stream that begins well: up to its first word."""
    begun = stream(OLDER, Talk())[:4]
    return Answer(200, (*begun, *more), SSE_TYPE, cut=cut)


FAULTS = {
    "bad_request": lambda: _wrong("messages.0.content: Input should be a valid list"),
    "too_long": lambda: _wrong("prompt is too long: 208310 tokens > 200000 maximum"),
    "bad_key": lambda: error(401, "authentication_error", "invalid x-api-key"),
    "no_credit": lambda: _wrong("Your credit balance is too low to access the API."),
    "rate_limited": lambda: error(
        429, "rate_limit_error", "Rate limited.", headers={"retry-after": "7"}
    ),
    "overloaded": lambda: error(529, "overloaded_error", "Overloaded"),
    "broken": lambda: error(500, "api_error", "Internal server error"),
    "error_in_stream": lambda: _begun(
        *sse(anthropic_error("overloaded_error", "Overloaded"), named=True)
    ),
    "cut_in_stream": lambda: _begun(cut=True),
    "unended": _begun,
}
