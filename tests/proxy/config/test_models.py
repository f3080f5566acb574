"""Models in force: who serves them."""

from __future__ import annotations

import pytest

from proxy.config.schema_models import ModelConfig
from tests.proxy.config.conftest import Read


@pytest.mark.parametrize(
    ("rest", "served_by"),
    [
        ("providerId: vllm", (("vllm", "m"),)),
        ("providerId: vllm, upstreamModel: up", (("vllm", "up"),)),
        (
            "providers: [{id: vllm}, {id: ollama, upstreamModel: o}], upstreamModel: up",
            (("vllm", "up"), ("ollama", "o")),
        ),
    ],
)
def test_providers_come_in_order_with_their_names_for_it(
    read: Read, rest: str, served_by: tuple[tuple[str, str], ...]
) -> None:
    (model,) = read(f"models: [{{id: m, {rest}}}]").config.models
    assert model.served_by == served_by
    assert model.name == "m"


def test_a_wildcard_leaves_the_name_open(read: Read) -> None:
    (model,) = read("models: [{id: 'x/*', providerId: vllm}]").config.models
    assert model.is_wildcard
    assert model.served_by == (("vllm", None),)


def test_every_key_of_a_model_is_read(read: Read) -> None:
    (model,) = read(
        """
        models:
          - id: m
            providerId: vllm
            pricing: {inputPer1M: 1, outputPer1M: 2, cachedInputPer1M: 0.1,
                      cacheWritePer1M: 3}
            capabilities: {functionCalling: true, vision: false}
            constraints: {minMaxTokens: 16, acceptsImageUrl: false}
            params: {set: {seed: 1}, defaults: {temperature: 0.7}, strip: [user]}
            tags: [chat]
        """
    ).config.models
    assert model.pricing is not None
    assert model.pricing.cache_write_per_1m == 3
    assert model.capabilities.function_calling is True
    assert model.capabilities.streaming is None
    assert model.constraints.min_max_tokens == 16
    assert dict(model.params.set_) == {"seed": 1}
    assert dict(model.params.defaults) == {"temperature": 0.7}
    assert model.params.strip == ("user",)


def test_code_may_make_one_by_attribute_names() -> None:
    made = ModelConfig(id="m", provider_id="a", is_default=True)
    assert made.name == "m"
    assert made.served_by == (("a", "m"),)
