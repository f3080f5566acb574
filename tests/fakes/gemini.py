"""A fake of Gemini's API: as strict as the real one where that has been seen."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from tests.fakes.talk import (
    CACHED_TOKENS,
    PROMPT_TOKENS,
    SIGNATURE,
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

OLDER, NEWEST, EMBEDS = "gemini-2.5-flash", "gemini-3.8-flash", "gemini-embedding-001"
KEY = "AIza-fake"
NO_SIGNATURE = "skip_thought_signature_validator"
MEMBERS = frozenset({
    "cachedContent", "contents", "generationConfig", "labels", "model",
    "safetySettings", "serviceTier", "store", "systemInstruction", "toolConfig",
    "tools",
})  # fmt: skip
SETTINGS = frozenset({
    "candidateCount", "frequencyPenalty", "logprobs", "maxOutputTokens", "mediaResolution",
    "presencePenalty", "responseFormat", "responseJsonSchema", "responseLogprobs",
    "responseMimeType", "responseModalities", "responseSchema", "seed", "speechConfig",
    "stopSequences", "temperature", "thinkingConfig", "topK", "topP",
})  # fmt: skip
REASONS = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "refusal": "SAFETY",
    "context": "MAX_TOKENS",
}
CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}
_SNAKE = re.compile(r"_([a-z])")
# What holds the caller's own names.
_FREE = frozenset({
    "args", "parameters", "parametersJsonSchema", "response", "responseJsonSchema",
    "responseSchema",
})  # fmt: skip
# The newest client asks /v1; both versions are served alike.
_VERB = re.compile(r"/v1(?:beta)?/models/([^/:]+):(\w+)")
_MODEL = re.compile(r"/v1(?:beta)?/models/([^/:]+)")


class FakeGemini(Talker, FakeUpstream):
    """`wraps_errors`: in lists of one, as its front does. A call of a tool comes back
    with its signature, or the newest model answers 400.
    """

    def __init__(
        self,
        models: tuple[str, ...] = (OLDER, NEWEST, EMBEDS),
        *,
        wraps_errors: bool = False,
    ) -> None:
        self.models = models
        self.wraps_errors = wraps_errors
        super().__init__()

    def routes(self) -> dict[str, Maker]:
        return dict.fromkeys(("GET /v1beta/models", "GET /v1/models"), self.list_models)

    def elsewhere(self, request: Received) -> Answer:
        path = unquote(request.target.partition("?")[0])
        verb, model = _VERB.fullmatch(path), _MODEL.fullmatch(path)
        refused = self._refuse_key(request)
        if refused is not None:
            return refused
        if model is not None and request.method == "GET" and model[1] in self.models:
            return Answer.of(entry(model[1]))
        make = self._verbs().get(verb[2]) if verb is not None else None
        if verb is None or make is None or request.method != "POST":
            return Answer(404, (b"<html><title>404</title></html>",), "text/html")
        if verb[1] not in self.models:
            said = f"models/{verb[1]} is not found for API version v1beta"
            return self.error("NOT_FOUND", said)
        return self._refuse(read(request), verb[1], verb[2]) or make(request, verb[1])

    def talk_path(self, model: str = OLDER, *, stream: bool = False) -> str:
        """Where `script` has to stand in the way of a conversation."""
        verb = "streamGenerateContent" if stream else "generateContent"
        return f"/v1beta/models/{model}:{verb}"

    def fault(self, name: str) -> Answer:
        """An answer that goes wrong; the names are the same in all fakes."""
        if name in _STREAMED:
            return _STREAMED[name]()
        status, message, details = _REFUSALS[name]
        return self.error(status, message, *details)

    def error(self, status: str, message: str, *details: Json) -> Answer:
        code = CODES[status]
        found: Json = {"code": code, "message": message, "status": status}
        if details:
            found["details"] = list(details)
        body: Any = {"error": found}
        return Answer.of([body] if self.wraps_errors else body, code)

    def list_models(self, request: Received) -> Answer:
        whole = {"models": [entry(name) for name in self.models]}
        return self._refuse_key(request) or Answer.of(whole)

    def generate(self, request: Received, model: str) -> Answer:
        return Answer.of(whole(model, self.talk_for(heard(read(request)))))

    def stream(self, request: Received, model: str) -> Answer:
        chunks = chunks_of(model, self.talk_for(heard(read(request))))
        if "alt=sse" in request.target.partition("?")[2].split("&"):
            return Answer(200, sse(*chunks), SSE_TYPE)
        return Answer.of(chunks)

    def count(self, request: Received, model: str) -> Answer:
        return Answer.of({"totalTokens": PROMPT_TOKENS})

    def embed(self, request: Received, model: str) -> Answer:
        return Answer.of({"embedding": {"values": _vector(read(request))}})

    def embed_batch(self, request: Received, model: str) -> Answer:
        asked = read(request)["requests"]
        for each in asked:
            if each.get("model") != f"models/{model}":
                said = "* BatchEmbedContentsRequest.model must match requests[].model"
                return self.error("INVALID_ARGUMENT", said)
        return Answer.of({"embeddings": [{"values": _vector(each)} for each in asked]})

    def _verbs(self) -> dict[str, Any]:
        return {
            "generateContent": self.generate,
            "streamGenerateContent": self.stream,
            "countTokens": self.count,
            "embedContent": self.embed,
            "batchEmbedContents": self.embed_batch,
        }

    def _refuse_key(self, request: Received) -> Answer | None:
        sent = request.header("x-goog-api-key")
        if sent is None:
            return self.error("PERMISSION_DENIED", "Method doesn't allow unregistered")
        return None if sent == KEY else self.fault("bad_key")

    def _refuse(self, asked: Json, model: str, verb: str) -> Answer | None:
        if verb == "countTokens" and (whole := asked.get("generateContentRequest")):
            if whole.get("model") != f"models/{model}":
                return self.error("INVALID_ARGUMENT", "model must match the path's")
            asked = whole
        elif "enerateContent" not in verb:
            return None
        wrong = wrong_shape(asked) or wrong_turns(asked["contents"], model)
        return None if wrong is None else self.error("INVALID_ARGUMENT", wrong)


def read(request: Received) -> Any:
    """The body with the names of Google's JSON; it takes them in_this_spelling too."""
    return _camel(request.json())


def _camel(found: Any) -> Any:
    if isinstance(found, list):
        return [_camel(each) for each in found]
    if not isinstance(found, dict):
        return found
    return {
        (key := _SNAKE.sub(lambda match: match[1].upper(), name)): value
        if key in _FREE
        else _camel(value)
        for name, value in found.items()
    }


def wrong_shape(asked: Json) -> str | None:
    """What is wrong with a request's members."""
    strange = asked.keys() - MEMBERS
    config = asked.get("generationConfig") or {}
    strange |= config.keys() - SETTINGS
    if strange:
        said = f'Unknown name "{min(strange)}": Cannot find field.'
        return f"Invalid JSON payload received. {said}"
    if not asked.get("contents"):
        return "* GenerateContentRequest.contents: contents is not specified"
    thinking = config.get("thinkingConfig") or {}
    if {"thinkingBudget", "thinkingLevel"} <= thinking.keys():
        return "You can only set only one of thinking budget and thinking level."
    return None


def wrong_turns(contents: list[Json], model: str) -> str | None:
    """What is wrong with a conversation: roles, results without calls, signatures."""
    calls = 0
    for turn in contents:
        if turn.get("role", "user") not in ("user", "model"):
            return "Please use a valid role: user, model."
        parts = turn.get("parts") or []
        if not parts:
            return (
                "* GenerateContentRequest.contents: contents.parts must not be empty."
            )
        results = [part for part in parts if "functionResponse" in part]
        if len(results) != calls:
            return (
                "Please ensure that the number of function response parts is equal "
                "to the number of function call parts of the function call turn."
            )
        called = [part for part in parts if "functionCall" in part]
        calls = len(called)
        if called and model == NEWEST and not _is_signed(called[0]):
            return "Function call is missing a thought_signature in functionCall parts."
    return None


def _is_signed(part: Json) -> bool:
    return part.get("thoughtSignature") in (SIGNATURE, NO_SIGNATURE)


def heard(asked: Json) -> Heard:
    config = asked.get("generationConfig") or {}
    calling = (asked.get("toolConfig") or {}).get("functionCallingConfig") or {}
    tools = [
        declared["name"]
        for tool in asked.get("tools") or ()
        for declared in tool.get("functionDeclarations") or ()
    ]
    allowed = calling.get("allowedFunctionNames")
    if allowed:
        tools = [name for name in tools if name in allowed]
    thinking = config.get("thinkingConfig") or {}
    return Heard(
        tools=() if calling.get("mode") == "NONE" else tuple(tools),
        has_result=any("functionResponse" in p for p in asked["contents"][-1]["parts"]),
        wants_json=config.get("responseMimeType") == "application/json",
        thinks=bool(thinking.get("includeThoughts"))
        and thinking.get("thinkingBudget") != 0,
        stop=tuple(config.get("stopSequences") or ()),
        max_tokens=config.get("maxOutputTokens"),
    )


def whole(model: str, talk: Talk) -> Json:
    parts: list[Json] = []
    if talk.thinking:
        parts.append({"text": talk.thinking, "thought": True})
    if talk.text:
        parts.append({"text": talk.text})
    candidate = _candidate(parts + _calls(talk), talk)
    return _head(model) | {"candidates": [candidate], "usageMetadata": _usage(talk)}


def chunks_of(model: str, talk: Talk) -> list[Json]:
    """The chunks of a stream: calls come whole, the reason with the last of them."""
    parts: list[Json] = [{"text": piece, "thought": True} for piece in talk.thought]
    parts += [{"text": piece} for piece in talk.pieces]
    steps = [[part] for part in parts]
    if talk.calls:
        steps.append(_calls(talk))
    begun = {"promptTokenCount": PROMPT_TOKENS, "totalTokenCount": PROMPT_TOKENS}
    chunks = [
        _head(model) | {"candidates": [_candidate(step)], "usageMetadata": begun}
        for step in steps
    ]
    last = _candidate([{"text": ""}], talk)
    end = _head(model) | {"candidates": [last], "usageMetadata": _usage(talk)}
    return [*chunks, end]


def _calls(talk: Talk) -> list[Json]:
    """Only the first of parallel calls is signed."""
    found: list[Json] = []
    for call in talk.calls:
        function = {"name": call.name, "args": dict(call.arguments), "id": call.id}
        found.append({"functionCall": function})
    if found:
        found[0]["thoughtSignature"] = SIGNATURE
    return found


def _candidate(parts: list[Json], talk: Talk | None = None) -> Json:
    found: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
    return found if talk is None else found | {"finishReason": REASONS[talk.finish]}


def _head(model: str) -> Json:
    return {"modelVersion": model, "responseId": "fake-response"}


def _usage(talk: Talk) -> Json:
    thoughts = len(talk.thought)
    found = {
        "promptTokenCount": PROMPT_TOKENS,
        "cachedContentTokenCount": CACHED_TOKENS,
        "candidatesTokenCount": talk.tokens - thoughts,
        "totalTokenCount": PROMPT_TOKENS + talk.tokens,
    }
    return found | {"thoughtsTokenCount": thoughts} if thoughts else found


def _vector(asked: Json) -> list[float]:
    size = asked.get("outputDimensionality") or 2
    return [0.25, -0.5, *[0.0] * size][:size]


def entry(name: str) -> Json:
    embeds = "embedding" in name
    found: Json = {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "inputTokenLimit": 2048 if embeds else 1_048_576,
        "outputTokenLimit": 1 if embeds else 65_536,
        "supportedGenerationMethods": ["embedContent"]
        if embeds
        else ["generateContent", "countTokens"],
    }
    return found if embeds else found | {"thinking": True}


def _begun(*more: bytes, cut: bool = False) -> Answer:
    """A stream that begins well: up to its second word."""
    begun = sse(*chunks_of(OLDER, Talk())[:2])
    return Answer(200, (*begun, *more), SSE_TYPE, cut=cut)


_UNAVAILABLE = "The model is overloaded. Please try again later."
_REFUSALS: dict[str, tuple[str, str, tuple[Json, ...]]] = {
    "bad_request": ("INVALID_ARGUMENT", "Request contains an invalid argument.", ()),
    "too_long": (
        "INVALID_ARGUMENT",
        "The input token count (9) exceeds the maximum number of tokens allowed (8).",
        (),
    ),
    "bad_key": (
        "INVALID_ARGUMENT",
        "API key not valid. Please pass a valid API key.",
        ({"@type": "google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"},),
    ),
    "no_credit": ("FAILED_PRECONDITION", "Please enable billing on your project.", ()),
    "rate_limited": (
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota.",
        ({"@type": "google.rpc.RetryInfo", "retryDelay": "7s"},),
    ),
    "overloaded": ("UNAVAILABLE", _UNAVAILABLE, ()),
    "broken": ("INTERNAL", "An internal error has occurred.", ()),
}
_STREAMED = {
    "error_in_stream": lambda: _begun(
        *sse({"error": {"code": 503, "message": _UNAVAILABLE, "status": "UNAVAILABLE"}})
    ),
    "cut_in_stream": lambda: _begun(cut=True),
    "unended": _begun,
    "blocked": lambda: Answer.of(
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **_head(OLDER)}
    ),
}
