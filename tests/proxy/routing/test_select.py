from __future__ import annotations

import pytest

from proxy.config import Config, ProviderConfig
from proxy.config.schema import RoutingConfig
from proxy.core.errors import CallerFault, GatewayError, GatewayFault, ProviderFault
from proxy.routing import select
from proxy.routing.catalog import Catalog
from proxy.routing.registry import Finding, Registry, Status
from tests.fakes.kinds import CHAT, KINDS, RERANK, provider


def registry(**kinds: str) -> Registry:
    configs = [
        ProviderConfig(
            id=id_,
            kind=kind,
            endpoint=f"http://{id_}.lan",
            type="cloud" if kind == "openai" else "local",
        )
        for id_, kind in kinds.items()
    ]
    return Registry(configs, KINDS)


def put(known: Registry, id_: str, status: Status) -> None:
    found = known.get(id_)
    assert found is not None
    if status in (Status.DISABLED, Status.DRAINING):
        known.hold(found, status)
    else:
        known.report(found, Finding(status))


def test_candidates_come_through() -> None:
    known = Catalog(Config(), [provider("a", "m")])
    (candidate,) = select.candidates(known.resolve("m", CHAT))
    assert candidate.provider.id == "a"


def test_unknown_model_is_told_with_near_names() -> None:
    known = Catalog(Config(), [provider("a", "qwen2.5", "llama")])
    with pytest.raises(CallerFault) as caught:
        select.candidates(known.resolve("qwen2", CHAT))
    error = caught.value
    assert (error.code, error.param, error.status) == ("model_not_found", "model", 404)
    assert error.message == "There is no model `qwen2`. Did you mean `qwen2.5`?"


def test_unknown_model_without_near_names_says_where_to_look() -> None:
    with pytest.raises(CallerFault) as caught:
        select.candidates(Catalog(Config(), [provider("a", "m")]).miss("zzz"))
    assert "GET /v1/models" in caught.value.message
    with pytest.raises(CallerFault) as caught:
        select.candidates(Catalog(Config(), []).miss("zzz"))
    assert "No provider with a model is known yet." in caught.value.message


def test_an_endless_name_is_cut_in_the_message() -> None:
    with pytest.raises(CallerFault) as caught:
        select.candidates(Catalog(Config(), []).resolve("x" * 1_000_000, CHAT))
    assert len(caught.value.message) < 300


def test_unsupported_operation_names_provider_and_operation() -> None:
    known = Catalog(Config(), [provider("desk", "m", kind="ollama")])
    with pytest.raises(CallerFault) as caught:
        select.candidates(known.resolve("m", RERANK))
    assert (caught.value.code, caught.value.param) == ("unsupported_operation", "model")
    assert "desk, which cannot do rerank" in caught.value.message


def test_unavailable_says_why_and_when_to_ask_again() -> None:
    down = provider("spark", "m", health=Status.OFFLINE)
    known = Catalog(Config(), [down, provider("desk", "m", enabled=False)])
    with pytest.raises(ProviderFault) as caught:
        select.candidates(known.resolve("m", CHAT))
    error = caught.value
    assert (error.code, error.status) == ("all_providers_unavailable", 503)
    assert error.retry_after_s == select.RETRY_AFTER_S
    assert "desk is disabled, spark is offline" in error.message


def test_auto_with_no_provider_says_that_none_is_known() -> None:
    with pytest.raises(ProviderFault) as caught:
        select.candidates(Catalog(Config(), []).resolve("auto", CHAT))
    assert caught.value.message.endswith("none is known.")


def test_model_answers_what_a_name_stands_for() -> None:
    known = Catalog(Config(), [provider("a", "m:latest")])
    assert select.model(known, "m").id == "m:latest"
    with pytest.raises(CallerFault) as caught:
        select.model(known, "n:latest")
    assert caught.value.code == "model_not_found"
    assert "`m:latest`" in caught.value.message


def test_passage_by_id_tries_one_that_is_offline() -> None:
    known = registry(desk="ollama")
    put(known, "desk", Status.OFFLINE)
    assert select.by_id(known, "desk").id == "desk"


def test_passage_to_an_unknown_id() -> None:
    with pytest.raises(CallerFault) as caught:
        select.by_id(registry(desk="ollama"), "nope")
    assert caught.value.code == "provider_not_found"


@pytest.mark.parametrize("held", [Status.DISABLED, Status.DRAINING])
def test_passage_to_a_held_provider(held: Status) -> None:
    known = registry(desk="ollama")
    put(known, "desk", held)
    with pytest.raises(ProviderFault) as caught:
        select.by_id(known, "desk")
    assert caught.value.code == "all_providers_unavailable"
    assert f"desk is {held}" in caught.value.message


def test_passage_by_kind_takes_an_id_first() -> None:
    known = registry(a="ollama", ollama="vllm")
    assert select.by_id_or_kind(known, "ollama").id == "ollama"


def test_passage_by_kind_takes_the_first_enabled() -> None:
    known = registry(a="ollama", b="ollama")
    put(known, "a", Status.DISABLED)
    assert select.by_id_or_kind(known, "ollama").id == "b"


def test_passage_to_a_kind_nobody_has() -> None:
    with pytest.raises(GatewayFault) as caught:
        select.by_id_or_kind(registry(a="vllm"), "lmstudio")
    assert (caught.value.code, caught.value.status) == ("not_configured", 501)
    assert "lmstudio" in caught.value.message


def test_unknown_paths_go_to_the_configured_default() -> None:
    config = Config(routing=RoutingConfig(default_provider="cloud"))
    known = registry(a="vllm", cloud="openai")
    assert select.for_unknown_paths(known, config).id == "cloud"


def test_unknown_paths_go_to_the_first_local_one_that_is_up() -> None:
    known = registry(a="vllm", b="ollama", aa="openai")
    assert select.for_unknown_paths(known, Config()).id == "a"
    put(known, "a", Status.OFFLINE)
    assert select.for_unknown_paths(known, Config()).id == "b"
    put(known, "b", Status.OFFLINE)
    assert select.for_unknown_paths(known, Config()).id == "a"


@pytest.mark.parametrize("kinds", [{}, {"cloud": "openai"}])
def test_unknown_paths_never_go_to_a_cloud_by_chance(kinds: dict[str, str]) -> None:
    with pytest.raises(GatewayError) as caught:
        select.for_unknown_paths(registry(**kinds), Config())
    assert caught.value.code == "not_configured"
    assert "routing.defaultProvider" in caught.value.message
