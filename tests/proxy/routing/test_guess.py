from __future__ import annotations

from types import MappingProxyType

import pytest

from proxy.config import Config, ProviderConfig
from proxy.config.outbound import Outbound
from proxy.config.schema import DiscoveryConfig
from proxy.routing.guess import address_of, certain, is_own, local_guesses
from tests.fakes.kinds import KINDS

ELSEWHERE = ("127.0.0.1", 1)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://localhost:11434", ("127.0.0.1", 11434)),
        ("http://127.0.0.1:11434/v1", ("127.0.0.1", 11434)),
        ("http://[::1]:11434", ("127.0.0.1", 11434)),
        ("http://0.0.0.0:11434", ("127.0.0.1", 11434)),
        ("http://ollama.localhost:1", ("127.0.0.1", 1)),
        ("http://PC.lan.:8000", ("pc.lan", 8000)),
        ("http://pc.lan", ("pc.lan", 80)),
        ("https://api.openai.com/v1", ("api.openai.com", 443)),
        ("http://localhost.example:1", ("localhost.example", 1)),
    ],
)
def test_addresses_of_urls(url: str, address: tuple[str, int]) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize(
    ("listening", "url", "expected"),
    [
        (("127.0.0.1", 3500), "http://localhost:3500", True),
        (("0.0.0.0", 3500), "http://127.0.0.1:3500", True),
        (("[::]", 3500), "http://127.0.0.1:3500", True),
        (("127.0.0.1", 3500), "http://127.0.0.1:3501", False),
        (("192.168.1.5", 3500), "http://127.0.0.1:3500", False),
        (("192.168.1.5", 3500), "http://192.168.1.5:3500", True),
        (("Gateway.lan", 3500), "http://gateway.lan:3500", True),
    ],
)
def test_our_own_address(listening: tuple[str, int], url: str, expected: bool) -> None:
    assert is_own(address_of(url), listening) is expected


def test_every_usual_port_is_a_guess_with_all_its_kinds() -> None:
    guesses = local_guesses(Config(), KINDS, ELSEWHERE)
    assert {port: [g.kind for g in found] for (_, port), found in guesses.items()} == {
        11434: ["ollama"],
        8000: ["vllm", "llamacpp"],
        8080: ["llamacpp"],
    }


def test_a_local_servers_key_goes_to_its_kind_only() -> None:
    keys = MappingProxyType({"vllm": "k"})
    guesses = local_guesses(Config(local_keys=keys), KINDS, ELSEWHERE)
    held = {g.kind: g.keys for found in guesses.values() for g in found}
    assert held == {"vllm": ("k",), "llamacpp": (), "ollama": ()}


def test_a_hint_of_a_kind_without_adapter_is_passed_over() -> None:
    hints = MappingProxyType({"lmstudio": "http://pc.lan:1234"})
    off = DiscoveryConfig(enabled=False)
    config = Config(local_hints=hints, discovery=off)
    assert local_guesses(config, KINDS, ELSEWHERE) == {}


def test_a_found_cloud_has_a_clouds_deadlines_and_proxy() -> None:
    config = Config(
        environment_keys=MappingProxyType({"openai": "sk-1"}),
        outbound=Outbound("http://proxy.lan:3128"),
    )
    (cloud,) = certain(config, KINDS)
    assert (cloud.id, cloud.type, cloud.name) == ("openai", "cloud", "OpenAI")
    assert cloud.proxy == "http://proxy.lan:3128"
    assert cloud.health_check_interval >= 60
    assert cloud.timeouts.connect == 10.0


def test_a_kind_in_the_file_keeps_its_key_to_itself() -> None:
    mine = ProviderConfig(
        id="x", kind="openai", endpoint="https://eu.api.openai.com", type="cloud"
    )
    keys = MappingProxyType({"openai": "sk-1"})
    assert certain(Config(providers=(mine,), environment_keys=keys), KINDS) == ()


def test_demo_is_certain_even_without_discovery() -> None:
    config = Config(demo=True, discovery=DiscoveryConfig(enabled=False))
    assert [found.kind for found in certain(config, KINDS)] == ["demo"]
