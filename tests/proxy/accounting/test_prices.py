from __future__ import annotations

import pytest

from providers.wire.usage import Usage
from proxy.accounting.prices import cost_usd
from proxy.config import ModelConfig, ProviderConfig
from proxy.config.schema_models import Pricing

USED = Usage(prompt=1000, completion=500)


def provider(type_: str, per_1k: float | None = None) -> ProviderConfig:
    return ProviderConfig(
        id="p", kind="vllm", name="p", endpoint="http://p.lan", type=type_,
        cost_per_1k_tokens=per_1k,
    )  # fmt: skip


def model(**pricing: float) -> ModelConfig:
    return ModelConfig(id="m", pricing=Pricing(**pricing))


def test_a_local_provider_without_a_price_costs_nothing() -> None:
    assert cost_usd(provider("local"), None, USED) == 0.0


def test_a_clouds_unknown_price_is_unknown() -> None:
    assert cost_usd(provider("cloud"), None, USED) is None
    assert cost_usd(provider("cloud"), ModelConfig(id="m"), USED) is None


def test_what_the_provider_reports_wins() -> None:
    used = Usage(prompt=1000, completion=500, cost_usd=0.125)
    priced = model(input_per_1m=1, output_per_1m=1)
    assert cost_usd(provider("cloud", 9.0), priced, used) == 0.125


def test_unknown_counts_have_no_cost() -> None:
    assert cost_usd(provider("local"), None, Usage()) is None
    assert cost_usd(provider("cloud", 1.0), None, Usage()) is None


def test_one_known_count_is_enough() -> None:
    assert cost_usd(provider("cloud", 2.0), None, Usage(prompt=500)) == 1.0


def test_a_price_per_thousand_counts_both_ways() -> None:
    assert cost_usd(provider("cloud", 2.0), None, USED) == 3.0
    assert cost_usd(provider("local", 0.5), None, USED) == 0.75


def test_the_models_price_goes_before_the_providers() -> None:
    flat = ModelConfig(id="m", cost_per_1k_tokens=4.0)
    assert cost_usd(provider("cloud", 2.0), flat, USED) == 6.0


def test_a_free_model_at_a_priced_provider_is_free() -> None:
    free = ModelConfig(id="m", cost_per_1k_tokens=0)
    assert cost_usd(provider("cloud", 2.0), free, USED) == 0.0


def test_input_and_output_have_prices_of_their_own() -> None:
    priced = model(input_per_1m=2.0, output_per_1m=10.0)
    assert cost_usd(provider("cloud"), priced, USED) == pytest.approx(0.007)


def test_cached_and_written_tokens_are_part_of_the_prompt() -> None:
    priced = model(
        input_per_1m=10.0, output_per_1m=0.0, cached_input_per_1m=1.0,
        cache_write_per_1m=12.5,
    )  # fmt: skip
    used = Usage(prompt=1000, completion=0, cached=600, cache_write=200)
    expected = (200 * 10.0 + 600 * 1.0 + 200 * 12.5) / 1e6
    assert cost_usd(provider("cloud"), priced, used) == pytest.approx(expected)


def test_without_prices_of_their_own_they_cost_as_input() -> None:
    priced = model(input_per_1m=10.0, output_per_1m=0.0)
    used = Usage(prompt=1000, completion=0, cached=600, cache_write=200)
    assert cost_usd(provider("cloud"), priced, used) == pytest.approx(0.01)


def test_more_cached_than_sent_is_never_a_credit() -> None:
    priced = model(input_per_1m=10.0, output_per_1m=0.0, cached_input_per_1m=0.0)
    used = Usage(prompt=100, completion=0, cached=600)
    assert cost_usd(provider("cloud"), priced, used) == 0.0


def test_a_listed_price_is_taken_where_nothing_is_configured() -> None:
    listed = Pricing(input_per_1m=1, output_per_1m=2, cached_input_per_1m=0.5)
    used = Usage(prompt=1_000_000, completion=1_000_000, cached=500_000)
    assert cost_usd(provider("cloud"), None, used, listed) == 2.75
    assert cost_usd(provider("cloud"), ModelConfig(id="m"), used, listed) == 2.75
    assert cost_usd(provider("cloud", 0.001), None, used, listed) == 2.0
    assert (
        cost_usd(
            provider("cloud"), model(input_per_1m=3, output_per_1m=3), used, listed
        )
        == 6.0
    )
    assert cost_usd(provider("local"), None, used, listed) == 0.0
