from __future__ import annotations

from typing import Any

import pytest

from providers.base import FoundModel
from proxy.api.model_shapes import (
    anthropic_model,
    capabilities,
    detailed_model,
    openai_model,
    pricing,
)
from proxy.config import Config, ModelConfig
from proxy.routing.catalog import Catalog
from proxy.routing.model import Model
from proxy.routing.registry import Provider
from tests.fakes.kinds import provider


def only(made: Provider, **model: Any) -> Model:
    """The first model listed: a configured one if `model` says something."""
    more = {"id": "mine", "providerId": made.id, **model}
    models = (ModelConfig.model_validate(more),) if model else ()
    return Catalog(Config(models=models), [made]).models[0]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (provider("a", "m"), {"input_per_1m": 0.0, "output_per_1m": 0.0}),
        (provider("a", "m", kind="openai"), None),
        (
            provider("a", "m", kind="openai", cost_per_1k_tokens=0.002),
            {"input_per_1m": 2.0, "output_per_1m": 2.0},
        ),
    ],
)
def test_price_of_a_found_model(made: Provider, expected: object) -> None:
    assert pricing(only(made)) == expected


def test_price_of_a_configured_model_beats_its_providers() -> None:
    made = provider("a", kind="openai", cost_per_1k_tokens=0.002)
    flat = pricing(only(made, costPer1kTokens=0.5))
    assert flat == {"input_per_1m": 500.0, "output_per_1m": 500.0}
    apart = pricing(only(made, pricing={"inputPer1M": 1, "outputPer1M": 2}))
    assert apart is not None
    assert (apart["input_per_1m"], apart["output_per_1m"]) == (1, 2)
    assert apart["cached_input_per_1m"] is None


def test_price_of_a_model_without_its_provider_is_unknown() -> None:
    model = ModelConfig(id="m", provider_id="not found yet")
    (listed,) = Catalog(Config(models=(model,)), []).models
    assert pricing(listed) is None
    assert openai_model("m", listed)["provider"] is None
    assert openai_model("m", listed)["status"] == "unavailable"


def test_embedding_models_stream_nothing() -> None:
    shown = capabilities(only(provider("a", FoundModel("m", kind="embeddings"))))
    assert (shown["embeddings"], shown["streaming"]) == (True, None)


def test_detailed_model_tells_all() -> None:
    found = FoundModel("m", family="llama", kind="chat", warm=True, inputs=("text",))
    model = only(
        provider("a", found),
        name="Mine",
        upstreamModel="m",
        aliases=["x"],
        maxTokens=100,
        capabilities={"vision": True},
        constraints={"minMaxTokens": 200, "typicalResponseSeconds": 3},
        tags=["fast"],
    )
    shown = detailed_model(model, is_default=True)
    assert shown["id"] == "mine"
    assert shown["name"] == "Mine"
    assert shown["aliases"] == ["x"]
    assert shown["providers"] == ["a"]
    assert shown["family"] == "llama"
    assert shown["max_tokens"] == 100
    assert shown["modalities"] == {"input": ["text", "image"], "output": ["text"]}
    assert shown["constraints"] == {
        "min_max_tokens": 200,
        "accepts_image_url": None,
        "typical_response_seconds": 3,
    }
    assert shown["tags"] == ["fast"]
    assert shown["default"] is True
    assert shown["status"] == "warm"


@pytest.mark.parametrize("created", [10**18, 10**30])
def test_an_absurd_date_is_the_epoch(created: int) -> None:
    shown = anthropic_model("m", only(provider("a", FoundModel("m", created=created))))
    assert shown["created_at"] == "1970-01-01T00:00:00Z"
