"""What a request cost. Unknown is None, never zero."""

from __future__ import annotations

from typing import Final

from providers.wire.usage import Usage
from proxy.config import ModelConfig, ProviderConfig
from proxy.config.schema_models import Pricing

_MILLION: Final = 1_000_000


def cost_usd(
    provider: ProviderConfig,
    model: ModelConfig | None,
    usage: Usage,
    listed: Pricing | None = None,
) -> float | None:
    """Answer the cost in USD; None when a cloud's price or the counts are unknown.

    What the provider itself reports wins, then the model's own price, then the
    provider's, then what a price map has `listed` for it. A local provider without a
    price costs nothing.
    """
    if usage.cost_usd is not None:
        return usage.cost_usd
    if usage.prompt is None and usage.completion is None:
        return None
    prompt, completion = usage.prompt or 0, usage.completion or 0
    if model is not None and model.pricing is not None:
        return _by_kind(model.pricing, usage)
    per_1k = None if model is None else model.cost_per_1k_tokens
    if per_1k is None:
        per_1k = provider.cost_per_1k_tokens
    if per_1k is not None:
        return (prompt + completion) * per_1k / 1000
    if provider.type == "local":
        return 0.0
    return None if listed is None else _by_kind(listed, usage)


def is_free(provider: ProviderConfig, model: ModelConfig | None) -> bool:
    """Tell whether any usage costs nothing, unless the provider itself names a cost."""
    if provider.type != "local" or provider.cost_per_1k_tokens:
        return False
    return model is None or not (model.pricing or model.cost_per_1k_tokens)


def _by_kind(price: Pricing, usage: Usage) -> float:
    """Each kind of token has its price; what is cached or written is part of the prompt."""
    cached, written = usage.cached or 0, usage.cache_write or 0
    fresh = max(0, (usage.prompt or 0) - cached - written)
    return (
        fresh * price.input_per_1m
        + cached * _or(price.cached_input_per_1m, price.input_per_1m)
        + written * _or(price.cache_write_per_1m, price.input_per_1m)
        + (usage.completion or 0) * price.output_per_1m
    ) / _MILLION


def _or(value: float | None, fallback: float) -> float:
    return fallback if value is None else value
