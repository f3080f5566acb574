from __future__ import annotations

import pytest

from proxy.config import Config, ModelConfig
from proxy.core.errors import CallerFault
from proxy.core.types import ANYONE, Principal
from proxy.pipeline.narrowed import narrowed
from proxy.pipeline.tariff import Tariff
from proxy.routing.catalog import Catalog, Missing, Resolution
from tests.fakes.kinds import CHAT, provider

HOME, AWAY = provider("home", "shared"), provider("away", "shared", type="cloud")
MODELS = (
    ModelConfig(
        id="m",
        provider_id="home",
        upstream_model="org/m",
        aliases=("other",),
        fallbacks=("n",),
    ),
    ModelConfig(id="n", provider_id="away", fallbacks=("m",)),
)
KNOWN = Catalog(Config(models=MODELS), [HOME, AWAY])


def resolve(name: str) -> Resolution:
    return KNOWN.resolve(name, CHAT)


def listed(*models: str) -> Principal:
    return Principal(models=models)


def who(resolution: Resolution) -> list[str]:
    return [candidate.provider.id for candidate in resolution.candidates]


@pytest.mark.parametrize("pattern", ["m", "other", "org/*", "*"])
def test_a_list_may_hold_any_name_of_a_model(pattern: str) -> None:
    assert who(narrowed(resolve("other"), listed(pattern))) == ["home"]


@pytest.mark.parametrize("name", ["m", "nobody-knows"])
def test_what_is_not_on_the_list_is_refused_known_or_not(name: str) -> None:
    with pytest.raises(CallerFault) as refused:
        narrowed(resolve(name), listed("x"))
    assert refused.value.code == "model_not_allowed"


def test_fallbacks_are_held_to_the_list_and_theirs_too() -> None:
    found = narrowed(resolve("m"), listed("m"))
    assert found.config is MODELS[0]
    assert found.narrow is not None
    assert who(found.narrow(resolve("n"))) == []
    found = narrowed(resolve("m"), listed("m", "n"))
    assert found.narrow is not None
    assert who(found.narrow(resolve("n"))) == ["away"]


def test_for_want_of_money_only_what_is_free_remains() -> None:
    found = narrowed(resolve("shared"), ANYONE, Tariff.FREE)
    assert who(found) == ["home"]
    found = narrowed(resolve("n"), ANYONE, Tariff.FREE)
    assert (who(found), found.missing) == ([], Missing.UNAVAILABLE)
    assert found.narrow is not None
    assert who(found.narrow(resolve("m"))) == ["home"]
