from __future__ import annotations

from dataclasses import replace

import pytest

from providers.base import FoundModel
from proxy.config import ProviderConfig
from proxy.config.schema_models import Pricing
from proxy.routing.registry import Finding, Provider, Registry, Status
from tests.fakes.kinds import KINDS


def config(id_: str, kind: str = "vllm", **more: object) -> ProviderConfig:
    return ProviderConfig(id=id_, kind=kind, endpoint=f"http://{id_}.lan", **more)  # type: ignore[arg-type]


def registry(*configs: ProviderConfig) -> Registry:
    return Registry(configs, KINDS)


def get(registry: Registry, id_: str) -> Provider:
    found = registry.get(id_)
    assert found is not None
    return found


def ids(registry: Registry) -> list[str]:
    return [p.id for p in registry.providers]


def test_orders_providers_by_priority_then_id() -> None:
    known = registry(
        config("c", priority=2), config("b", priority=1), config("a", priority=2)
    )
    assert ids(known) == ["b", "a", "c"]


def test_prices_are_those_of_the_kind_also_of_what_comes_later() -> None:
    known = registry(config("a"))
    prices = {"vllm": {"qwen": Pricing(input_per_1m=1, output_per_1m=2)}}
    known.price(prices)
    known.add(config("b"))
    assert get(known, "a").prices == get(known, "b").prices == prices["vllm"]
    known.price({})
    assert get(known, "a").prices == {}


def test_adapter_knows_address_key_and_headers() -> None:
    made = config(
        "a", keys=("k1", "k2"), headers=(("x-team", "t"),), auth_type="bearer"
    )
    settings = get(registry(made), "a").adapter.settings
    assert settings.base_url == "http://a.lan"
    assert settings.key == "k1"
    assert settings.headers == (("x-team", "t"),)
    assert settings.auth_type == "bearer"


def test_new_provider_is_unknown_and_a_disabled_one_says_so() -> None:
    known = registry(config("a"), config("b", enabled=False))
    assert get(known, "a").status is Status.UNKNOWN
    assert get(known, "b").status is Status.DISABLED


def test_operators_word_beats_health_until_it_is_taken_back() -> None:
    known = registry(config("a"))
    provider = get(known, "a")
    known.hold(provider, Status.DRAINING)
    known.report(provider, Finding(Status.ONLINE))
    assert provider.status is Status.DRAINING
    assert not provider.usable
    known.hold(provider, None)
    assert provider.status is Status.ONLINE


def test_slots_come_from_config_then_server_then_kind() -> None:
    known = registry(config("a", kind="ollama"))
    provider = get(known, "a")
    assert provider.slots == 1
    known.report(provider, Finding(Status.ONLINE, slots=4))
    assert provider.slots == 4
    known.load([config("a", kind="ollama", max_concurrent=2)])
    assert get(known, "a").slots == 2


def test_configured_null_slots_mean_no_limit() -> None:
    known = registry(config("a", kind="ollama", max_concurrent_given=True))
    assert get(known, "a").slots is None


def test_counts_failures_in_a_row() -> None:
    known = registry(config("a"))
    provider = get(known, "a")
    known.report(provider, Finding(Status.DEGRADED, error="slow"))
    known.report(provider, Finding(Status.OFFLINE, error="gone"))
    assert (provider.failures, provider.last_error) == (2, "gone")
    known.report(provider, Finding(Status.ONLINE))
    assert (provider.failures, provider.last_error) == (0, None)


def test_addresses_that_are_lacking_are_few_and_forgotten_on_reload() -> None:
    known = registry(config("a"))
    provider = get(known, "a")
    heard: list[str] = []
    known.on_change(lambda: heard.append("x"))
    known.lacks(provider, "m", "responses")
    assert not heard  # no such request is remembered in a way of its own
    known.lacks(provider, "m", "chat")
    assert heard
    assert provider.absent == {("m", "responses"), ("m", "chat")}
    for number in range(1000):
        known.lacks(provider, f"m{number}", "responses")
    assert 0 < len(provider.absent) <= 256
    known.load([config("a")])
    assert get(known, "a") is provider
    assert not provider.absent


def test_offline_provider_keeps_its_models() -> None:
    known = registry(config("a"))
    provider = get(known, "a")
    models = (FoundModel("m"),)
    known.report(provider, Finding(Status.ONLINE, models=models))
    known.report(provider, Finding(Status.OFFLINE, error="gone"))
    assert provider.models == models


def test_watchers_hear_only_of_what_may_alter_a_route() -> None:
    known = registry(config("a"))
    provider = get(known, "a")
    heard: list[str] = []
    known.on_change(lambda: heard.append("x"))
    known.report(provider, Finding(Status.ONLINE, latency_s=0.1))
    assert len(heard) == 1
    known.report(provider, Finding(Status.ONLINE, latency_s=0.2))
    assert len(heard) == 1
    known.report(provider, Finding(Status.ONLINE, models=(FoundModel("m"),)))
    assert len(heard) == 2
    known.add(config("b"))
    assert len(heard) == 3


def test_reload_keeps_what_was_seen_of_those_that_stay() -> None:
    known = registry(config("a"), config("b"))
    provider = get(known, "a")
    known.report(provider, Finding(Status.ONLINE, models=(FoundModel("m"),)))
    provider.active = 3
    known.load([config("a", priority=7)])
    assert ids(known) == ["a"]
    assert get(known, "a") is provider
    assert provider.config.priority == 7
    assert (provider.active, provider.status) == (3, Status.ONLINE)


def test_reload_of_an_unchanged_provider_keeps_it_drained() -> None:
    known = registry(config("a"))
    known.hold(get(known, "a"), Status.DRAINING)
    known.load([config("a")])
    assert get(known, "a").status is Status.DRAINING


def test_reload_keeps_found_providers_but_a_configured_id_wins() -> None:
    known = registry()
    known.add(config("found", discovered=True))
    known.add(config("both", discovered=True))
    known.load([config("both", priority=5)])
    assert ids(known) == ["found", "both"]
    assert not get(known, "both").config.discovered


def test_a_new_kind_under_an_old_id_starts_afresh() -> None:
    known = registry(config("a"))
    known.report(get(known, "a"), Finding(Status.ONLINE))
    known.load([config("a", kind="ollama")])
    assert get(known, "a").status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("first", "expected"), [(Status.ONLINE, "a"), (Status.OFFLINE, "b")]
)
def test_first_of_kind_prefers_one_that_is_up(first: Status, expected: str) -> None:
    known = registry(config("a"), config("b"), config("c", kind="ollama"))
    known.report(get(known, "a"), Finding(first))
    chosen = known.first_of_kind("vllm")
    assert chosen is not None
    assert chosen.id == expected


def test_first_of_kind_skips_disabled_and_may_find_none() -> None:
    known = registry(config("a", enabled=False))
    assert known.first_of_kind("vllm") is None
    assert known.first_of_kind("ollama") is None


@pytest.mark.parametrize(
    ("changed", "held"),
    [
        ({"priority": 7}, Status.DRAINING),
        ({"endpoint": "http://elsewhere.lan"}, Status.DRAINING),
        ({"enabled": False}, Status.DISABLED),
    ],
)
def test_only_a_changed_enabled_takes_the_operators_word_back(
    changed: dict[str, object], held: Status
) -> None:
    known = registry(config("a"))
    known.hold(get(known, "a"), Status.DRAINING)
    known.load([replace(config("a"), **changed)])  # type: ignore[arg-type]
    assert get(known, "a").held is held


def test_one_that_is_enabled_by_a_reload_is_in_use_again() -> None:
    known = registry(config("a", enabled=False))
    known.load([config("a")])
    assert get(known, "a").held is None


def test_reload_answers_who_is_to_be_looked_at() -> None:
    known = registry(config("same"), config("changed"), config("gone"))
    changed = known.load([config("same"), config("changed", priority=2), config("new")])
    assert {p.id for p in changed} == {"changed", "new"}


def test_another_server_under_an_old_id_is_unknown_but_keeps_the_slots_in_use() -> None:
    known = registry(config("a"))
    provider = get(known, "a")
    seen = Finding(Status.OFFLINE, "gone", (FoundModel("m"),), slots=4, latency_s=0.1)
    known.report(provider, seen)
    provider.active = 2
    known.load([replace(config("a"), endpoint="http://elsewhere.lan")])
    assert get(known, "a") is provider
    assert provider.status is Status.UNKNOWN
    assert (provider.failures, provider.last_error, provider.slots) == (0, None, None)
    assert (provider.active, [m.id for m in provider.models]) == (2, ["m"])


def test_reload_drops_what_would_not_be_found_again() -> None:
    known = registry()
    known.add(config("stays", discovered=True))
    known.add(config("goes", discovered=True))
    known.load([], lambda found: found.id == "stays")
    assert ids(known) == ["stays"]
