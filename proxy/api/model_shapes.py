"""A model as the list of each dialect, and /v1/info, show it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from providers.base import OPERATIONS
from proxy.config import ModelConfig
from proxy.config.schema_models import ModelCapabilities
from proxy.routing.model import Model


def openai_model(id_: str, model: Model) -> dict[str, Any]:
    """OpenAI's shape and ours beside it; `created` 0 where nobody says."""
    provider = _provider_id(model)
    found = model.found
    return {
        "id": id_,
        "object": "model",
        "created": (found.created if found else None) or 0,
        "owned_by": (found.owned_by if found else None) or provider or "unknown",
        "provider": provider,
        "context_window": context_window(model),
        "capabilities": capabilities(model),
        "status": model.state,
    }


def anthropic_model(id_: str, model: Model) -> dict[str, Any]:
    """Anthropic's shape; an unknown date is the epoch, as its documentation says."""
    created = (model.found.created if model.found else None) or 0
    return {
        "type": "model",
        "id": id_,
        "display_name": model.config.name if model.config else id_,
        "created_at": _timestamp(created),
        "lifecycle": "active",
        "max_input_tokens": context_window(model),
        "max_tokens": model.config.max_tokens if model.config else None,
    }


def detailed_model(model: Model, is_default: bool) -> dict[str, Any]:
    """All that is known of a model, for people and pages."""
    config, found = model.config, model.found
    constraints = config.constraints if config else None
    return {
        "id": model.id,
        "name": config.name if config else model.id,
        "aliases": list(config.aliases) if config else [],
        "providers": [c.provider.id for c in model.candidates],
        "family": found.family if found else None,
        "context_window": context_window(model),
        "max_tokens": config.max_tokens if config else None,
        "modalities": _modalities(model),
        "capabilities": capabilities(model),
        "constraints": {
            "min_max_tokens": constraints.min_max_tokens if constraints else 1,
            "accepts_image_url": constraints.accepts_image_url if constraints else None,
            "typical_response_seconds": constraints.typical_response_seconds
            if constraints
            else None,
        },
        "pricing": pricing(model),
        "tags": list(config.tags) if config else [],
        "default": is_default,
        "status": model.state,
    }


def context_window(model: Model) -> int | None:
    if model.config is not None and model.config.context_window is not None:
        return model.config.context_window
    return model.found.context_window if model.found else None


def capabilities(model: Model) -> dict[str, bool | None]:
    """What it can do; None where neither the operator nor the server says."""
    said = model.config.capabilities if model.config else ModelCapabilities()
    found = model.found.capabilities if model.found else frozenset()
    embeds = None if model.kind is None else model.kind == "embeddings"
    return {
        "streaming": _first(said.streaming, _streams(model)),
        "function_calling": _first(
            said.function_calling, "functionCalling" in found or None
        ),
        "vision": _first(said.vision, "vision" in found or None),
        "json_mode": _first(said.json_mode, "jsonMode" in found or None),
        "reasoning": _first(said.reasoning, "reasoning" in found or None),
        "embeddings": _first(said.embeddings, embeds),
    }


def pricing(model: Model) -> dict[str, float | None] | None:
    """US dollars per million tokens. Local without a price costs nothing; of a cloud
    without one it is unknown: None.
    """
    config = model.config
    if config is not None and config.pricing is not None:
        return config.pricing.model_dump()
    per_1k = _flat_price(model, config)
    if per_1k is None:
        return None
    each = round(per_1k * 1000, 6)
    return {"input_per_1m": each, "output_per_1m": each}


def _flat_price(model: Model, config: ModelConfig | None) -> float | None:
    if config is not None and config.cost_per_1k_tokens is not None:
        return config.cost_per_1k_tokens
    if not model.candidates:
        return None
    provider = model.candidates[0].provider
    if provider.config.cost_per_1k_tokens is not None:
        return provider.config.cost_per_1k_tokens
    return 0.0 if provider.local else None


def _provider_id(model: Model) -> str | None:
    serving = model.live or model.candidates
    return serving[0].provider.id if serving else None


def _streams(model: Model) -> bool | None:
    if model.kind == "embeddings" or not model.candidates:
        return None
    adapter = model.candidates[0].provider.adapter
    return adapter.way(OPERATIONS["chat"]) is not None or None


def _modalities(model: Model) -> dict[str, list[str]]:
    inputs = list(model.found.inputs) if model.found else []
    if capabilities(model)["vision"] and "image" not in inputs:
        inputs = [*(inputs or ["text"]), "image"]
    output = "embeddings" if model.kind == "embeddings" else "text"
    return {"input": inputs or ["text"], "output": [output]}


def _first(said: bool | None, found: bool | None) -> bool | None:
    return found if said is None else said


def _timestamp(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00Z"  # a server may claim any number
