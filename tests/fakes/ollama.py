"""A fake Ollama daemon: its own dialect in NDJSON, and OpenAI's side of it."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from tests.fakes.openai import WORDS, FakeOpenAI
from tests.fakes.talk import Heard, Talk, Talker
from tests.fakes.upstream import NDJSON_TYPE, Answer, Json, Maker, Received, ndjson

CREATED = "2026-11-21T10:00:00Z"
PROMPT_TOKENS = 7
COUNTS = {
    "total_duration": 5_000_000,
    "load_duration": 1_000_000,
    "prompt_eval_count": PROMPT_TOKENS,
    "prompt_eval_duration": 1_000_000,
    "eval_count": len(WORDS),
    "eval_duration": 3_000_000,
}
USUAL_CONTEXT = 4096
LEVELS = ("low", "medium", "high")


class FakeOllama(Talker, FakeOpenAI):
    """`loaded` maps the names of loaded models to their context, which a request of
    its own dialect changes; `able` are capabilities of its models.
    """

    def __init__(
        self,
        models: tuple[str, ...] = ("llama3.1:8b", "nomic-embed-text:latest"),
        loaded: dict[str, int] | None = None,
        able: tuple[str, ...] = ("completion", "tools", "vision", "thinking"),
    ) -> None:
        self.loaded = {} if loaded is None else loaded
        self.able = able
        super().__init__(models, owned_by="library")

    def routes(self) -> dict[str, Maker]:
        openai = super().routes()
        del openai["POST /v1/messages/count_tokens"]
        return openai | {
            "GET /": lambda _: Answer(200, (b"Ollama is running",), "text/plain"),
            "GET /api/version": lambda _: Answer.of({"version": "0.14.2"}),
            "GET /api/tags": self.tags,
            "GET /api/ps": self.ps,
            "POST /api/show": self.show,
            "POST /api/chat": self.native_chat,
            "POST /api/generate": self.generate,
            "POST /api/embed": self.native_embed,
            "POST /api/pull": lambda _: _stream([{"status": "success"}]),
            "DELETE /api/delete": lambda _: Answer(200),
        }

    def elsewhere(self, request: Received) -> Answer:
        return Answer(404, (b"404 page not found",), "text/plain")

    def talk_path(self, model: str = "", *, stream: bool = False) -> str:
        """Where `script` has to stand in the way of a conversation."""
        return "/api/chat"

    def fault(self, name: str) -> Answer:
        """An answer that goes wrong; the names are the same in all fakes."""
        return FAULTS[name]()

    def tags(self, request: Received) -> Answer:
        return Answer.of({"models": [self.entry(name) for name in self.models]})

    def ps(self, request: Received) -> Answer:
        return Answer.of({
            "models": [
                self.entry(name) | {"context_length": context, "size_vram": 1}
                for name, context in self.loaded.items()
            ]
        })  # fmt: skip

    def show(self, request: Received) -> Answer:
        return self.missing(request.json()) or Answer.of({
            "details": {"format": "gguf", "family": "llama"},
            "model_info": {
                "general.architecture": "llama",
                "llama.context_length": 131072,
            },
            "capabilities": list(self.able),
        })  # fmt: skip

    def native_chat(self, request: Received) -> Answer:
        asked = request.json()
        refused = self.missing(asked) or self.refused(asked)
        if refused is not None:
            return refused
        self.load(asked)
        if not asked.get("messages"):
            return self.only_loaded(asked, {"message": _said("")})
        talk = self.talk_for(heard(asked))
        steps: list[Json] = [{"message": _said("", p)} for p in talk.thought]
        steps += [{"message": _said(piece)} for piece in talk.pieces]
        steps += [{"message": _said("") | {"tool_calls": [c]}} for c in _calls(talk)]
        together = _said(talk.text, talk.thinking)
        if talk.calls:
            together["tool_calls"] = _calls(talk)
        return self.talk(
            asked, steps, {"message": together}, {"message": _said("")}, talk
        )

    def generate(self, request: Received) -> Answer:
        asked = request.json()
        refused = self.missing(asked) or self.refused(asked)
        if refused is not None:
            return refused
        self.load(asked)
        if not asked.get("prompt"):
            return self.only_loaded(asked, {"response": ""})
        talk = self.talk_for(heard(asked))
        steps: list[Json] = [{"response": "", "thinking": p} for p in talk.thought]
        steps += [{"response": piece} for piece in talk.pieces]
        together = {"response": talk.text}
        if talk.thinking:
            together["thinking"] = talk.thinking
        return self.talk(asked, steps, together, {"response": ""}, talk)

    def native_embed(self, request: Received) -> Answer:
        asked = request.json()
        count = len(asked["input"]) if isinstance(asked["input"], list) else 1
        return self.missing(asked) or Answer.of({
            "model": asked["model"],
            "embeddings": [[0.25, -0.5]] * count,
            "prompt_eval_count": PROMPT_TOKENS,
        })  # fmt: skip

    def talk(
        self, asked: Json, pieces: list[Json], whole: Json, end: Json, talk: Talk
    ) -> Answer:
        """Stream unless told not to, as Ollama does."""
        head = {"model": asked["model"], "created_at": CREATED}
        reason = "length" if talk.finish in ("length", "context") else "stop"
        ending = {"done": True, "done_reason": reason, **COUNTS}
        ending["eval_count"] = talk.tokens
        if asked.get("stream") is False:
            return Answer.of(head | whole | ending)
        steps = [head | piece | {"done": False} for piece in pieces]
        return _stream([*steps, head | end | ending])

    def only_loaded(self, asked: Json, said: Json) -> Answer:
        """Nothing to say: the model was to be loaded, or unloaded."""
        reason = "load" if asked["model"] in self.loaded else "unload"
        head = {"model": asked["model"], "created_at": CREATED}
        return Answer.of(head | said | {"done": True, "done_reason": reason})

    def load(self, asked: Json) -> None:
        name, options = asked["model"], asked.get("options") or {}
        if asked.get("keep_alive") in (0, "0"):
            self.loaded.pop(name, None)
            return
        context = options.get("num_ctx") or self.loaded.get(name, USUAL_CONTEXT)
        self.loaded[name] = context

    def refused(self, asked: Json) -> Answer | None:
        """What it answers 400 to."""
        name, think = asked["model"], asked.get("think")
        for member, ability in (("tools", "tools"), ("think", "thinking")):
            if asked.get(member) and ability not in self.able:
                return error(400, f'"{name}" does not support {ability}')
        if isinstance(think, str) and (think not in LEVELS or "gpt-oss" not in name):
            return error(400, f'think value "{think}" is not supported for this model')
        turns = asked.get("messages") or [asked]
        for image in (i for turn in turns for i in turn.get("images") or ()):
            try:
                base64.b64decode(image, validate=True)
            except (binascii.Error, ValueError):
                return error(400, "illegal base64 data at input byte 4")
        if asked.get("format") not in (None, "", "json") and not isinstance(
            asked["format"], dict
        ):
            return error(400, 'invalid format: expected "json" or a JSON schema')
        return None

    def missing(self, asked: Json) -> Answer | None:
        name = asked.get("model")
        if name in self.models:
            return None
        return error(404, f"model '{name}' not found")

    def entry(self, name: str) -> dict[str, Any]:
        family = "nomic-bert" if "embed" in name else "llama"
        return {
            "name": name,
            "model": name,
            "modified_at": CREATED,
            "size": 4_920_753_328,
            "digest": "46e0c10c039e",
            "details": {"format": "gguf", "family": family, "families": [family]},
        }


def heard(asked: Json) -> Heard:
    options = asked.get("options") or {}
    stop = options.get("stop") or ()
    turns = asked.get("messages") or [{}]
    return Heard(
        tools=tuple(tool["function"]["name"] for tool in asked.get("tools") or ()),
        has_result=turns[-1].get("role") == "tool",
        wants_json=bool(asked.get("format")),
        thinks=bool(asked.get("think")),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        max_tokens=options.get("num_predict"),
    )


def error(status: int, message: str) -> Answer:
    return Answer.of({"error": message}, status)


def _said(content: str, thinking: str = "") -> Json:
    found = {"role": "assistant", "content": content}
    return found | {"thinking": thinking} if thinking else found


def _calls(talk: Talk) -> list[Json]:
    return [
        {"function": {"index": at, "name": c.name, "arguments": dict(c.arguments)}}
        for at, c in enumerate(talk.calls)
    ]


def _stream(values: list[Json]) -> Answer:
    return Answer(200, ndjson(*values), NDJSON_TYPE)


def _begun(*more: bytes, cut: bool = False) -> Answer:
    """A stream that begins well: up to its second word."""
    head = {"model": "llama3.1:8b", "created_at": CREATED, "done": False}
    begun = ndjson(*(head | {"message": _said(word)} for word in WORDS[:2]))
    return Answer(200, (*begun, *more), NDJSON_TYPE, cut=cut)


_BUSY = "server busy, please try again.  maximum pending requests exceeded"
FAULTS = {
    "bad_request": lambda: error(400, "json: cannot unmarshal number into Go struct"),
    "too_long": lambda: error(400, "input length exceeds maximum context length"),
    "bad_key": lambda: error(401, "unauthorized"),
    "rate_limited": lambda: Answer.of(
        {"error": "too many requests"}, 429, headers={"retry-after": "7"}
    ),
    "overloaded": lambda: error(503, _BUSY),
    "broken": lambda: error(500, "model runner has unexpectedly stopped"),
    "error_in_stream": lambda: _begun(*ndjson({"error": "an error was encountered"})),
    "cut_in_stream": lambda: _begun(cut=True),
    "unended": _begun,
}
