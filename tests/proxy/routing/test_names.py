from __future__ import annotations

import pytest

from providers.base import FoundModel
from proxy.config import Config, ModelConfig
from proxy.routing.model import Model, Wildcard, live
from proxy.routing.names import Names
from proxy.routing.registry import Provider, Status
from tests.fakes.kinds import provider


def names(*providers: Provider, models: tuple[ModelConfig, ...] = ()) -> Names:
    return Names(Config(models=models), providers)


def named(id_: str, at: str, **more: object) -> ModelConfig:
    return ModelConfig(id=id_, provider_id=at, **more)  # type: ignore[arg-type]


def listed(known: Names) -> list[str]:
    return [model.id for model in known.listed]


def places(model: Model | None) -> list[tuple[str, str]]:
    assert model is not None
    return [(c.provider.id, c.upstream_model) for c in model.candidates]


def test_lists_configured_models_then_found_ones() -> None:
    known = names(
        provider("a", "found", "same"), models=(named("mine", "a"), named("same", "a"))
    )
    assert listed(known) == ["mine", "same", "found"]


def test_what_the_operator_renamed_is_listed_once() -> None:
    known = names(
        provider("a", "Qwen/Qwen2.5", "llama"),
        models=(named("qwen", "a", upstream_model="Qwen/Qwen2.5"),),
    )
    assert listed(known) == ["qwen", "llama"]
    assert places(known.get("Qwen/Qwen2.5")) == [("a", "Qwen/Qwen2.5")]


def test_lists_no_wildcard_and_no_alias() -> None:
    known = names(
        provider("a"), models=(named("x/*", "a"), named("m", "a", aliases=("n",)))
    )
    assert listed(known) == ["m"]
    assert known.labels == {"m", "n"}


def test_models_of_one_provider() -> None:
    known = names(provider("a", "m", "n"), provider("b", "m"))
    assert [m.id for m in known.at("b")] == ["b/m", "b/m:latest"]


@pytest.mark.parametrize(
    ("health", "warm", "state"),
    [
        (Status.ONLINE, True, "warm"),
        (Status.ONLINE, False, "cold"),
        (Status.ONLINE, None, "cold"),
        (Status.LOADING, True, "loading"),
        (Status.OFFLINE, True, "unavailable"),
    ],
)
def test_state_of_a_model(health: Status, warm: bool | None, state: str) -> None:
    known = names(provider("a", FoundModel("m", warm=warm), health=health))
    assert known.listed[0].state == state


def test_clouds_models_are_warm() -> None:
    assert names(provider("a", "m", kind="openai")).listed[0].state == "warm"


def test_configured_model_that_its_server_does_not_list_is_unavailable() -> None:
    known = names(provider("a", "other"), models=(named("m", "a"),))
    assert known.listed[0].state == "unavailable"
    assert places(known.get("m")) == [("a", "m")]


def test_a_provider_may_have_a_model_of_its_own_name() -> None:
    known = names(provider("demo", "demo", "other", kind="demo"))
    assert listed(known) == ["demo", "other"]
    assert places(known.get("demo")) == [("demo", "demo")]


def test_a_model_named_like_another_provider_is_listed_by_its_place() -> None:
    known = names(provider("ollama", "m", kind="ollama"), provider("z", "ollama"))
    assert listed(known) == ["m", "z/ollama"]
    assert known.get("ollama") is None
    assert places(known.get("z/ollama")) == [("z", "ollama")]


def test_every_listed_id_leads_to_its_model() -> None:
    known = names(
        provider("a", "m", "b", "x", "y:latest"),
        provider("b", "m", "a", kind="ollama"),
        models=(named("x", "b"), named("k", "a", upstream_model="m", aliases=("y",))),
    )
    for model in known.listed:
        assert known.get(model.id) is model


def test_offers_at_a_provider_begin_with_the_operators_default() -> None:
    known = names(
        provider("a", FoundModel("f", warm=True)),
        models=(named("m", "a"), named("n", "a", is_default=True)),
    )
    ids = [model.id for model in known.at("a")]
    assert ids[0] == "a/n"
    assert ids.index("a/m") < ids.index("a/f")


def test_wildcards_hand_on_the_rest() -> None:
    spark = provider("spark")
    star = Wildcard("x/", named("x/*", "spark"), ((spark, None), (spark, "fixed")))
    upstream = [c.upstream_model for c in star.candidates_for("rest")]
    assert upstream == ["rest", "fixed"]


def test_live_keeps_the_order_among_the_well() -> None:
    model = names(
        provider("a", "m", health=Status.DEGRADED),
        provider("b", "m"),
        provider("c", "m", health=Status.OFFLINE),
        provider("d", "m", health=Status.UNKNOWN),
    ).get("m")
    assert model is not None
    assert [c.provider.id for c in live(model.candidates)] == ["b", "d", "a"]
