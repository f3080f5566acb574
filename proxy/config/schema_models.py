"""Keys of a model: a name that callers may use, in force as written."""

from __future__ import annotations

from typing import Any

from proxy.config.base import (
    Amount,
    Map,
    Positive,
    Seconds,
    Section,
    empty_map,
    option,
)
from proxy.config.schema_providers import Name, Named


class ModelProvider(Section):
    id: str = option(..., "Id of the provider.")
    upstream_model: str | None = option(
        None, "The provider's name for the model.", shown_default="the model's id"
    )


class Pricing(Section):
    input_per_1m: Amount = option(
        0, "Prompt tokens.", unit="USD per million", key="inputPer1M"
    )
    output_per_1m: Amount = option(
        0, "Completion tokens.", unit="USD per million", key="outputPer1M"
    )
    cached_input_per_1m: Amount | None = option(
        None, "Prompt tokens from a cache.", unit="USD per million",
        key="cachedInputPer1M",
    )  # fmt: skip
    cache_write_per_1m: Amount | None = option(
        None, "Prompt tokens put into a cache.", unit="USD per million",
        key="cacheWritePer1M",
    )  # fmt: skip


class ModelCapabilities(Section):
    """What a model can do; null: as its provider says."""

    streaming: bool | None = option(None, "Streams.")
    function_calling: bool | None = option(None, "Calls tools.")
    vision: bool | None = option(None, "Reads images.")
    json_mode: bool | None = option(None, "Holds to JSON.")
    reasoning: bool | None = option(None, "Thinks before it answers.")
    embeddings: bool | None = option(None, "Makes embeddings.")


class Constraints(Section):
    min_max_tokens: Positive = option(1, "Least max_tokens that works.", unit="tokens")
    accepts_image_url: bool | None = option(
        None, "Takes images by URL, not only inline; null: not known."
    )
    typical_response_seconds: Seconds | None = option(
        None, "How long an answer usually takes.", unit="seconds"
    )


class Params(Section):
    set_: Map[Any] = option(empty_map, "Parameters always set.", key="set")
    defaults: Map[Any] = option(empty_map, "Parameters set where the caller did not.")
    strip: tuple[str, ...] = option((), "Parameters taken out.")


class ModelConfig(Named):
    """A name that callers may use, and who serves it."""

    id: Name = option(..., "Name callers use; `anthropic/*` matches all that begin so.")
    name: Name = option("", "Name for people.", shown_default="the id")
    provider_id: str | None = option(None, "Id of the provider that serves it.")
    providers: tuple[ModelProvider, ...] = option(
        (), "Several providers, in order of preference, instead of providerId."
    )
    upstream_model: str | None = option(
        None, "The provider's name for it.", shown_default="the id"
    )
    aliases: tuple[Name, ...] = option((), "Other names for it.")
    fallbacks: tuple[Name, ...] = option((), "Models asked when it fails.")
    context_fallbacks: tuple[Name, ...] = option(
        (), "Models asked when its context is too small."
    )
    context_window: Positive | None = option(
        None, "Tokens it can take.", unit="tokens", shown_default="what the server says"
    )
    max_concurrent: Positive | None = option(
        None, "Slots of this model at each provider.", unit="requests"
    )
    max_tokens: Positive | None = option(None, "Most tokens it writes.", unit="tokens")
    is_default: bool = option(False, "The model that `auto` prefers.")
    cost_per_1k_tokens: Amount | None = option(
        None, "Price; local without one costs 0, cloud without one is unknown.",
        unit="USD per 1000 tokens",
    )  # fmt: skip
    pricing: Pricing | None = option(None, "Prices apart, instead of costPer1kTokens.")
    capabilities: ModelCapabilities = option(ModelCapabilities, "What it can do.")
    constraints: Constraints = option(Constraints, "What it cannot.")
    params: Params = option(Params, "Changes to requests.")
    tags: tuple[str, ...] = option((), "Words for people and pages.")

    @property
    def is_wildcard(self) -> bool:
        return self.id.endswith("*")

    @property
    def served_by(self) -> tuple[tuple[str, str | None], ...]:
        """Who serves it, in order: (provider id, upstream model).

        Of a wildcard the model is None unless given: it is then the rest of the
        name the caller used.
        """
        entries = self.providers or (
            (ModelProvider(id=self.provider_id),) if self.provider_id else ()
        )
        own = self.upstream_model or (None if self.is_wildcard else self.id)
        return tuple((entry.id, entry.upstream_model or own) for entry in entries)
