"""A fake Ollama daemon: its own dialect in NDJSON, and OpenAI's side of it."""

from __future__ import annotations

from typing import Any

from tests.fakes.openai import WORDS, FakeOpenAI
from tests.fakes.upstream import NDJSON_TYPE, Answer, Json, Maker, Received, ndjson

CREATED = "2026-11-21T10:00:00Z"
COUNTS = {
    "total_duration": 5_000_000,
    "load_duration": 1_000_000,
    "prompt_eval_count": 7,
    "prompt_eval_duration": 1_000_000,
    "eval_count": len(WORDS),
    "eval_duration": 3_000_000,
}


class FakeOllama(FakeOpenAI):
    """`loaded` maps the names of loaded models to their context."""

    def __init__(
        self,
        models: tuple[str, ...] = ("llama3.1:8b", "nomic-embed-text:latest"),
        loaded: dict[str, int] | None = None,
    ) -> None:
        super().__init__(models, owned_by="library")
        self.loaded = {} if loaded is None else loaded

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
            "capabilities": ["completion", "tools"],
        })  # fmt: skip

    def native_chat(self, request: Received) -> Answer:
        pieces = [{"message": {"role": "assistant", "content": word}} for word in WORDS]
        whole = {"message": {"role": "assistant", "content": "".join(WORDS)}}
        end = {"message": {"role": "assistant", "content": ""}}
        return self.talk(request.json(), pieces, whole, end)

    def generate(self, request: Received) -> Answer:
        pieces = [{"response": word} for word in WORDS]
        return self.talk(
            request.json(), pieces, {"response": "".join(WORDS)}, {"response": ""}
        )

    def native_embed(self, request: Received) -> Answer:
        asked = request.json()
        count = len(asked["input"]) if isinstance(asked["input"], list) else 1
        return self.missing(asked) or Answer.of({
            "model": asked["model"],
            "embeddings": [[0.25, -0.5]] * count,
            "prompt_eval_count": 7,
        })  # fmt: skip

    def talk(self, asked: Json, pieces: list[Json], whole: Json, end: Json) -> Answer:
        """Stream unless told not to, as Ollama does."""
        if (missing := self.missing(asked)) is not None:
            return missing
        head = {"model": asked["model"], "created_at": CREATED}
        ending = {"done": True, "done_reason": "stop", **COUNTS}
        if asked.get("stream") is False:
            return Answer.of(head | whole | ending)
        steps = [head | piece | {"done": False} for piece in pieces]
        return _stream([*steps, head | end | ending])

    def missing(self, asked: Json) -> Answer | None:
        name = asked.get("model")
        if name in self.models:
            return None
        return Answer.of({"error": f"model '{name}' not found"}, 404)

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


def _stream(values: list[Json]) -> Answer:
    return Answer(200, ndjson(*values), NDJSON_TYPE)
