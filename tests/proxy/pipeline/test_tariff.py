from __future__ import annotations

from typing import Any

import pytest

from proxy.config import Config, ModelConfig
from proxy.config.schema_models import Pricing
from proxy.pipeline.tariff import Costs, Tariff, costs_of
from proxy.routing.catalog import Catalog
from proxy.routing.registry import Provider
from tests.fakes.kinds import CHAT, provider


def dear(id_: str, at: str, usd: float, **more: Any) -> ModelConfig:
    """A model whose million tokens cost `usd`, in and out."""
    pricing = Pricing(input_per_1m=usd, output_per_1m=usd)
    return ModelConfig(id=id_, provider_id=at, pricing=pricing, **more)


def cloud(id_: str) -> Provider:
    return provider(id_, type="cloud")


def costs(name: str, *models: ModelConfig, **providers: Provider) -> Costs:
    known = Catalog(Config(models=models), list(providers.values()))
    return costs_of(known.resolve(name, CHAT), known, 600_000, 400_000)


HOME, AWAY = provider("home"), cloud("away")


def test_a_local_model_without_a_price_is_free() -> None:
    model = ModelConfig(id="m", provider_id="home")
    assert costs("m", model, home=HOME) == Costs(0.0, 0.0, True, False)


def test_a_cloud_model_without_a_price_is_unpriced() -> None:
    model = ModelConfig(id="m", provider_id="away")
    assert costs("m", model, away=AWAY) == Costs(0.0, 0.0, False, True)


def test_the_dearest_counts_fallbacks_and_theirs_included() -> None:
    models = (
        ModelConfig(id="m", provider_id="home", fallbacks=("n",)),
        dear("n", "away", 2.0, context_fallbacks=("o", "m")),
        dear("o", "away", 5.0),
        dear("p", "away", 9.0),
    )
    found = costs("m", *models, home=HOME, away=AWAY)
    assert found == Costs(pytest.approx(5.0), pytest.approx(3.0), True, False)


@pytest.mark.parametrize(
    ("tariff", "allowed"),
    [
        (Tariff.ANY, ["free", "dear", "unpriced"]),
        (Tariff.PRICED, ["free", "dear"]),
        (Tariff.FREE, ["free"]),
    ],
)
def test_a_tariff_tells_who_may_be_asked(tariff: Tariff, allowed: list[str]) -> None:
    models = (
        ModelConfig(id="free", provider_id="home"),
        dear("dear", "away", 1.0),
        ModelConfig(id="unpriced", provider_id="away"),
    )
    known = Catalog(Config(models=models), [HOME, AWAY])
    found = [
        model.id
        for model in models
        if tariff.allows(known.resolve(model.id, CHAT).candidates[0])
    ]
    assert found == allowed
