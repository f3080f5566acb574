"""llama.cpp's own server, single model or router; shapes checked against a real one.

/health, /props and /v1/models neither wake a sleeping model nor load one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    inner,
    read_entries,
    read_model,
    read_models,
    read_object,
    text,
    whole,
)
from providers.openai_compatible import OpenAICompatible

_WARMTH: Final[Mapping[str, bool]] = {
    "loaded": True,
    "sleeping": False,
    "unloaded": False,
    "loading": False,
}


class LlamaCpp(OpenAICompatible):
    """`llama-server`; its number of slots is its own affair and it tells it."""

    kind = "llamacpp"
    title = "llama.cpp server"
    capabilities = Capabilities(
        operations=frozenset(
            {
                "chat",
                "completions",
                "embeddings",
                "rerank",
                "responses",
                "messages",
                "count_tokens",
                "transcriptions",
            }
        ),
        default_slots=1,
    )
    usual_ports = (8080, 9931)
    reasoning_field = "reasoning_content"
    liveness = Probe("health", "/health")
    listing = (Probe("models", "/v1/models"), Probe("props", "/props"))
    extra_fields = frozenset(
        {
            "cache_prompt",
            "chat_template_kwargs",
            "grammar",
            "id_slot",
            "json_schema",
            "min_p",
            "samplers",
            "timings_per_token",
            "top_k",
        }
    )
    inference_paths = frozenset(
        {
            "POST /audio/transcriptions",
            "POST /chat/completions",
            "POST /completion",
            "POST /completions",
            "POST /embedding",
            "POST /embeddings",
            "POST /infill",
            "POST /rerank",
            "POST /reranking",
            "POST /responses",
            "POST /v1/reranking",
        }
    )
    metadata_paths = frozenset(
        {
            "GET /health",
            "GET /metrics",
            "GET /models",
            "GET /props",
            "GET /v1/health",
            "POST /apply-template",
            "POST /chat/completions/input_tokens",
            "POST /detokenize",
            "POST /responses/input_tokens",
            "POST /tokenize",
            "POST /v1/chat/completions/input_tokens",
            "POST /v1/responses/input_tokens",
        }
    )
    # /slots and /v1/stream show what others ask; /control ends another's reasoning.
    owner_paths = frozenset(
        {
            "DELETE /models",
            "GET /cors-proxy",
            "GET /lora-adapters",
            "GET /slots",
            "GET /tools",
            "GET /v1/stream/*",
            "GET /v1/streams",
            "POST /lora-adapters",
            "POST /models",
            "POST /models/load",
            "POST /models/unload",
            "POST /props",
            "POST /slots/*",
            "POST /tools",
            "POST /v1/chat/completions/control",
        }
    )

    def interpret(self, status: int, headers: Sequence[Pair], body: bytes) -> Fault:
        fault = super().interpret(status, headers, body)
        if fault.status != 501:
            return fault
        # "Start it with --embeddings": this server cannot, and is not ill for it.
        return replace(
            fault,
            blame=Blame.CALLER,
            status=400,
            code="unsupported_operation",
            type="invalid_request_error",
        )

    def is_alive(self, reply: ProbeReply) -> bool:
        document = read_object(reply)
        return document is not None and document.get("status") == "ok"

    def read_listing(self, replies: Mapping[str, ProbeReply]) -> Inventory | None:
        models = read_models(read_entries(replies.get("models"), "data"), _read_model)
        if models is None:
            return None
        props = read_object(replies.get("props")) or {}
        if len(models) == 1:
            models = (_with_props(models[0], props),)
        return Inventory(models, whole(props.get("total_slots")) or None)

    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        entries = read_entries(replies.get("models"), "data") or []
        return any(self.owner_of(entry) == "llamacpp" for entry in entries)


def _read_model(entry: Document) -> FoundModel | None:
    model = read_model(entry)
    if model is None:
        return None
    meta = inner(entry, "meta")
    state = text(inner(entry, "status").get("value"))
    return replace(
        model,
        context_window=whole(meta.get("n_ctx")) or whole(meta.get("n_ctx_train")),
        # Only the router says; a single model is in memory as long as it runs.
        warm=True if state is None else _WARMTH.get(state),
        # It calls the output of an embedding model text too.
        kind=None,
    )


def _with_props(model: FoundModel, props: Document) -> FoundModel:
    """Add what /props tells of the only model: the context of a slot, its senses."""
    settings = inner(props, "default_generation_settings")
    window = whole(settings.get("n_ctx")) or model.context_window
    senses = inner(props, "modalities")
    inputs = [name for name in model.inputs if name]
    for flag, sense in (("vision", "image"), ("video", "video"), ("audio", "audio")):
        if senses.get(flag) is True and sense not in inputs:
            inputs.append(sense)
    found = {"vision"} if "image" in inputs else set()
    return replace(
        model,
        context_window=window,
        inputs=tuple(inputs),
        capabilities=model.capabilities | found,
    )
