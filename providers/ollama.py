"""Ollama: its OpenAI and Anthropic side on model routes, its own API where those would
lose something, all of it by pass-through.

Which context a model really has is known only once it is loaded (/api/ps); what
the model could have is not asked for, as that would be a question per model.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from providers.base import Capabilities, FoundModel, Inventory, Probe, ProbeReply
from providers.listing import read_entries, read_object, text, whole
from providers.ollama_api import OllamaLike, read_tags


class Ollama(OllamaLike):
    """A local Ollama daemon."""

    kind = "ollama"
    title = "Ollama"
    capabilities = Capabilities(
        operations=frozenset(
            {
                "chat",
                "completions",
                "embeddings",
                "responses",
                "messages",
                "transcriptions",
                "ollama_chat",
                "ollama_generate",
                "ollama_embed",
                "ollama_embeddings",
            }
        ),
        default_slots=1,  # OLLAMA_NUM_PARALLEL's own default
    )
    usual_ports = (11434,)
    liveness = Probe("version", "/api/version")
    listing = (
        Probe("tags", "/api/tags"),
        Probe("ps", "/api/ps"),
        Probe("version", "/api/version"),
    )
    native_fields = OllamaLike.native_fields | {"keep_alive"}

    def is_alive(self, reply: ProbeReply) -> bool:
        document = read_object(reply)
        return document is not None and text(document.get("version")) is not None

    def read_listing(self, replies: Mapping[str, ProbeReply]) -> Inventory | None:
        models = read_tags(replies.get("tags"))
        if models is None:
            return None
        loaded = _read_loaded(replies.get("ps"))
        if loaded is None:
            return Inventory(models)
        return Inventory(tuple(_with_state(model, loaded) for model in models))

    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        version = replies.get("version")
        if version is None or not self.is_alive(version):
            return False
        return read_tags(replies.get("tags")) is not None


def _read_loaded(reply: ProbeReply | None) -> dict[str, int | None] | None:
    """Loaded models and the context each was loaded with; None when not told."""
    entries = read_entries(reply, "models")
    if entries is None:
        return None
    loaded: dict[str, int | None] = {}
    for entry in entries:
        name = text(entry.get("model")) or text(entry.get("name"))
        if name is not None:
            loaded[name] = whole(entry.get("context_length")) or None
    return loaded


def _with_state(model: FoundModel, loaded: Mapping[str, int | None]) -> FoundModel:
    if model.id not in loaded:
        return replace(model, warm=False)
    window = loaded[model.id] or model.context_window
    return replace(model, warm=True, context_window=window)
