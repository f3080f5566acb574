"""LM Studio: /v1, its own REST API in two versions, and the SDKs' WebSockets.

It answers 200 to any path, so nothing but the shape of a body proves anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from providers.base import (
    Capabilities,
    FoundModel,
    Inventory,
    Pair,
    Probe,
    ProbeReply,
)
from providers.errors import Blame, Fault
from providers.listing import (
    Document,
    context,
    inner,
    read_entries,
    read_model,
    read_models,
    text,
    texts,
    whole,
)
from providers.openai_compatible import OpenAICompatible

_UNKNOWN_PATH: Final = "Unexpected endpoint or method"
_KINDS: Final[Mapping[str, str]] = MappingProxyType({
    "llm": "chat",
    "vlm": "chat",
    "embedding": "embeddings",  # v1
    "embeddings": "embeddings",  # v0
})  # fmt: skip
_TRAITS: Final[Mapping[str, str]] = MappingProxyType({
    "vision": "vision",
    "trained_for_tool_use": "functionCalling",
    "tool_use": "functionCalling",
    "reasoning": "reasoning",
})  # fmt: skip


class LMStudio(OpenAICompatible):
    """LM Studio's server, or llmster."""

    kind = "lmstudio"
    title = "LM Studio"
    capabilities = Capabilities(
        operations=frozenset(
            {"chat", "completions", "embeddings", "responses", "messages"}
        ),
        websocket=True,
        default_slots=1,
    )
    usual_ports = (1234,)
    image_urls = False
    key_variables = ("LM_API_TOKEN",)
    liveness = Probe("native", "/api/v1/models")
    listing = (
        Probe("native", "/api/v1/models"),
        Probe("legacy", "/api/v0/models"),
        Probe("models", "/v1/models"),
    )
    extra_fields = frozenset({"min_p", "repeat_penalty", "top_k", "ttl"})
    # The SDKs talk to a model over the WebSockets /llm and /embedding. Those can
    # load and unload as well, but so can any request that names another model (it
    # is loaded, the idle one evicted), and without them no SDK works at all.
    inference_paths = frozenset(
        {
            "GET /embedding",
            "GET /llm",
            "POST /api/v0/chat/completions",
            "POST /api/v0/completions",
            "POST /api/v0/embeddings",
            "POST /api/v1/chat",
        }
    )
    metadata_paths = frozenset(
        {
            "GET /api/v0/models",
            "GET /api/v0/models/*",
            "GET /api/v1/models",
            "GET /lmstudio-greeting",
        }
    )
    # /diagnostics streams everybody's prompts; /files and /repository write to disk.
    owner_paths = frozenset(
        {
            "GET /api/v1/models/download/status",
            "GET /api/v1/models/download/status/*",
            "GET /diagnostics",
            "GET /files",
            "GET /plugins",
            "GET /repository",
            "GET /runtime",
            "GET /system",
            "POST /api/v1/models/download",
            "POST /api/v1/models/load",
            "POST /api/v1/models/unload",
        }
    )

    def interpret(self, status: int, headers: Sequence[Pair], body: bytes) -> Fault:
        fault = super().interpret(status, headers, body)
        if status < 300 and fault.message.startswith(_UNKNOWN_PATH):
            return replace(fault, blame=Blame.CALLER, status=404)
        return fault

    def is_alive(self, reply: ProbeReply) -> bool:
        if read_models(read_entries(reply, "models"), _read_native) is not None:
            return True
        # Before 0.4 there was no such path, and this is how it said so.
        return reply.status == 200 and _UNKNOWN_PATH.encode() in reply.body

    def read_listing(self, replies: Mapping[str, ProbeReply]) -> Inventory | None:
        entries = read_entries(replies.get("native"), "models")
        native = read_models(entries, _read_native)
        if entries is not None and native is not None:
            return Inventory(native + _instances(entries, native), _slots(entries))
        legacy = read_entries(replies.get("legacy"), "data")
        models = read_models(legacy, _read_legacy)
        if models is None:
            plain = read_entries(replies.get("models"), "data")
            models = read_models(plain, read_model)
        return None if models is None else Inventory(models)

    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        native = read_entries(replies.get("native"), "models") or []
        legacy = read_entries(replies.get("legacy"), "data") or []
        if any("loaded_instances" in entry for entry in native):
            return True
        if any("state" in entry and "compatibility_type" in entry for entry in legacy):
            return True
        plain = read_entries(replies.get("models"), "data") or []
        return any(self.owner_of(entry) == "organization_owner" for entry in plain)


def _read_native(entry: Document) -> FoundModel | None:
    name = text(entry.get("key")) or text(entry.get("id"))
    if name is None:
        return None
    instances = entry.get("loaded_instances")
    loaded = _loaded(entry)
    window = next((found for i in loaded if (found := _loaded_context(i))), None)
    traits = inner(entry, "capabilities")
    told = tuple(word for word, value in traits.items() if value)
    return _model(
        entry,
        name,
        window or context(entry),
        bool(loaded) if isinstance(instances, list) else None,
        told,
    )


def _read_legacy(entry: Document) -> FoundModel | None:
    name = text(entry.get("id"))
    if name is None:
        return None
    state = text(entry.get("state"))
    told = texts(entry.get("capabilities"))
    if entry.get("type") == "vlm":
        told += ("vision",)
    warm = None if state is None else state == "loaded"
    return _model(entry, name, context(entry), warm, told)


def _model(
    entry: Document,
    name: str,
    window: int | None,
    warm: bool | None,
    told: tuple[str, ...],
) -> FoundModel:
    kind = text(entry.get("type"))
    return FoundModel(
        id=name,
        owned_by=text(entry.get("publisher")),
        context_window=window,
        warm=warm,
        family=text(entry.get("architecture")) or text(entry.get("arch")),
        kind=_KINDS.get(kind or ""),
        inputs=("text", "image") if "vision" in told else ("text",),
        capabilities=frozenset(_TRAITS[word] for word in told if word in _TRAITS),
    )


def _instances(
    entries: list[Document], known: tuple[FoundModel, ...]
) -> tuple[FoundModel, ...]:
    """Loaded instances under a name of their own: they answer to it too."""
    models = {model.id: model for model in known}
    found: dict[str, FoundModel] = {}
    for entry in entries:
        model = models.get(text(entry.get("key")) or text(entry.get("id")) or "")
        for instance in _loaded(entry):
            name = text(instance.get("id"))
            if model is not None and name is not None and name not in models:
                window = _loaded_context(instance) or model.context_window
                found[name] = replace(model, id=name, context_window=window)
    return tuple(found.values())


def _slots(entries: list[Document]) -> int | None:
    """What every loaded model takes at once: the least any of them says."""
    said = [
        slots
        for entry in entries
        for instance in _loaded(entry)
        if (slots := whole(inner(instance, "config").get("parallel")))
    ]
    return min(said, default=None)


def _loaded(entry: Document) -> list[Document]:
    instances = entry.get("loaded_instances")
    found = instances if isinstance(instances, list) else []
    return [instance for instance in found if isinstance(instance, dict)]


def _loaded_context(instance: Document) -> int | None:
    return whole(inner(instance, "config").get("context_length")) or None
