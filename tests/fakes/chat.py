"""A fake of an OpenAI-compatible server that says what it is asked for.

As its parent, but its chat behaves (tests.fakes.talk) and refuses what strict servers
refuse: nulls, results without calls, calls without results.
"""

from __future__ import annotations

import json

from tests.fakes.openai import FakeOpenAI, openai_error
from tests.fakes.talk import CACHED_TOKENS, PROMPT_TOKENS, Heard, Talk, Talker
from tests.fakes.upstream import SSE_TYPE, Answer, Json, Received, sse

REASONS = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "refusal": "content_filter",
    "context": "length",
}
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


class FakeChat(Talker, FakeOpenAI):
    """Thoughts come as `reasoning_content`."""

    def talk_path(self, model: str = "", *, stream: bool = False) -> str:
        """Where `script` has to stand in the way of a conversation."""
        return "/v1/chat/completions"

    def fault(self, name: str) -> Answer:
        """An answer that goes wrong; the names are the same in all fakes."""
        return FAULTS[name]()

    def chat(self, request: Received) -> Answer:
        asked = request.json()
        if (missing := self.wrong_model(asked)) is not None:
            return missing
        if (wrong := wrong_members(asked)) is not None:
            return error(400, wrong)
        talk = self.talk_for(heard(asked))
        if not asked.get("stream"):
            return Answer.of(whole(asked["model"], talk))
        wants_usage = (asked.get("stream_options") or {}).get("include_usage")
        chunks = chunks_of(asked["model"], talk, with_usage=bool(wants_usage))
        return Answer(200, sse(*chunks, "[DONE]"), SSE_TYPE)


def wrong_members(asked: Json) -> str | None:
    """What is wrong with a request."""
    for name, value in asked.items():
        if value is None:
            return f"{name}: Input should be valid"
    called: set[str] = set()
    for at, turn in enumerate(asked["messages"]):
        if turn["role"] not in _ROLES:
            return f"messages[{at}].role: unknown"
        if turn["role"] == "tool":
            if turn["tool_call_id"] not in called:
                return f"messages[{at}]: no call of this result precedes"
            called.remove(turn["tool_call_id"])
            continue
        if called:
            return f"messages[{at}]: calls must be followed by their results"
        if turn.get("content") is None and not turn.get("tool_calls"):
            return f"messages[{at}].content: missing"
        called = {call["id"] for call in turn.get("tool_calls") or ()}
    return None


def heard(asked: Json) -> Heard:
    choice = asked.get("tool_choice")
    tools = [tool["function"]["name"] for tool in asked.get("tools") or ()]
    if isinstance(choice, dict):
        tools = [choice["function"]["name"]]
    stop = asked.get("stop") or ()
    form = asked.get("response_format") or {}
    return Heard(
        tools=() if choice == "none" else tuple(tools),
        has_result=asked["messages"][-1]["role"] == "tool",
        only_one_call=asked.get("parallel_tool_calls") is False,
        wants_json=form.get("type") in ("json_object", "json_schema"),
        thinks=asked.get("reasoning_effort") not in (None, "none"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        max_tokens=asked.get("max_completion_tokens", asked.get("max_tokens")),
    )


def whole(model: str, talk: Talk) -> Json:
    message: Json = {"role": "assistant", "content": talk.text or None}
    if talk.thinking:
        message["reasoning_content"] = talk.thinking
    if talk.calls:
        message["tool_calls"] = _calls(talk)
    choice = {"index": 0, "message": message, "finish_reason": REASONS[talk.finish]}
    return _head(model, "chat.completion") | {
        "choices": [choice],
        "usage": _usage(talk),
    }


def chunks_of(model: str, talk: Talk, *, with_usage: bool) -> list[Json]:
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in talk.thought]
    deltas += [{"content": piece} for piece in talk.pieces]
    for at, call in enumerate(_calls(talk)):
        function = call["function"]
        text = function["arguments"]
        opened = {**call, "index": at, "function": {**function, "arguments": ""}}
        deltas.append({"tool_calls": [opened]})
        for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
            more = {"index": at, "function": {"arguments": piece}}
            deltas.append({"tool_calls": [more]})
    head = _head(model, "chat.completion.chunk")
    chunks: list[Json] = [
        head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    last = {"index": 0, "delta": {}, "finish_reason": REASONS[talk.finish]}
    chunks.append(head | {"choices": [last]})
    if with_usage:
        chunks.append(head | {"choices": [], "usage": _usage(talk)})
    return chunks


def _calls(talk: Talk) -> list[Json]:
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {
                "name": call.name,
                "arguments": json.dumps(dict(call.arguments)),
            },
        }
        for call in talk.calls
    ]


def _head(model: str, kind: str) -> Json:
    return {"id": "chatcmpl-fake", "object": kind, "created": 1, "model": model}


def _usage(talk: Talk) -> Json:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": talk.tokens,
        "total_tokens": PROMPT_TOKENS + talk.tokens,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        "completion_tokens_details": {"reasoning_tokens": len(talk.thought)},
    }


def error(status: int, message: str, code: str | None = None) -> Answer:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return Answer.of(openai_error(message, kind, code), status)


def _rate_limited() -> Answer:
    body = openai_error("Slow down", "requests", "rate_limit_exceeded")
    return Answer.of(body, 429, headers={"retry-after": "7"})


def _begun(*more: bytes, cut: bool = False) -> Answer:
    """A stream that begins well: up to its first word."""
    begun = sse(*chunks_of("fake-model", Talk(), with_usage=False)[:2])
    return Answer(200, (*begun, *more), SSE_TYPE, cut=cut)


FAULTS = {
    "bad_request": lambda: error(400, "messages: wrong"),
    "too_long": lambda: error(
        400,
        "This model's maximum context length is 8 tokens",
        "context_length_exceeded",
    ),
    "bad_key": lambda: error(401, "Incorrect API key provided", "invalid_api_key"),
    "rate_limited": _rate_limited,
    "overloaded": lambda: error(503, "The engine is currently overloaded"),
    "broken": lambda: error(500, "The server had an error"),
    "error_in_stream": lambda: _begun(
        *sse(openai_error("The server had an error", "server_error"))
    ),
    "cut_in_stream": lambda: _begun(cut=True),
    "unended": _begun,
}
