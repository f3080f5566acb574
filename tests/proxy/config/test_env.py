"""Names and forms of the environment."""

from __future__ import annotations

import pytest

from proxy.config.env import (
    is_own_address,
    keys_of_kinds,
    lookup,
    lookup_any_case,
    ollama_address,
    provider_variable,
    snapshot,
)
from tests.proxy.config.conftest import Faults, Read

ONE = """
providers:
  - id: gaming-pc-3090
    kind: vllm
    endpoint: http://a.lan
    authSecrets: [SOME_KEY]
"""


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8888", "http://127.0.0.1:8888"),
        (":8888", "http://127.0.0.1:8888"),
        ("box.lan", "http://box.lan:11434"),
        ("box.lan:80", "http://box.lan:80"),
        ("http://box.lan", "http://box.lan:80"),
        ("https://box.lan", "https://box.lan:443"),
        ("https://box.lan:8443/ollama/", "https://box.lan:8443/ollama"),
        ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("::", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::]:9000", "http://[::1]:9000"),
        ("[fd00::1]:9000", "http://[fd00::1]:9000"),
        ("fd00::1", "http://[fd00::1]:11434"),
        (' "127.0.0.1:1" ', "http://127.0.0.1:1"),
    ],
)
def test_ollama_host_has_many_forms(text: str, address: str) -> None:
    assert ollama_address(text) == address


@pytest.mark.parametrize(
    "text", ["ftp://x", "box.lan:0", "box.lan:99999", "a b", "user@box", "box.lan:x"]
)
def test_an_ollama_host_of_no_form_is_none(text: str) -> None:
    assert ollama_address(text) is None


@pytest.mark.parametrize(
    ("id_", "name"),
    [
        ("gaming-pc-3090", "PROVIDER_GAMING_PC_3090_ENDPOINT"),
        ("a.b", "PROVIDER_A_B_ENDPOINT"),
        ("Zai", "PROVIDER_ZAI_ENDPOINT"),
    ],
)
def test_the_variable_of_a_provider(id_: str, name: str) -> None:
    assert provider_variable(id_, "ENDPOINT") == name


def test_a_providers_variables_win_over_the_file(read: Read) -> None:
    (provider,) = read(
        ONE,
        {
            "PROVIDER_GAMING_PC_3090_ENDPOINT": "http://b.lan/v1",
            "PROVIDER_GAMING_PC_3090_ENABLED": "false",
            "PROVIDER_GAMING_PC_3090_API_KEY": "LOOKS_LIKE_A_NAME",
        },
    ).config.providers
    assert provider.base_url == "http://b.lan"
    assert provider.enabled is False
    assert provider.keys == ("LOOKS_LIKE_A_NAME",)


def test_a_providers_variable_may_give_what_the_file_lacks(read: Read) -> None:
    text = "providers: [{id: a, kind: vllm, endpoint: '${env:NONE}'}]"
    environ = {"PROVIDER_A_ENDPOINT": "http://a.lan"}
    assert read(text, environ).config.providers[0].endpoint == "http://a.lan"


def test_a_wrong_variable_of_a_provider_is_told_by_its_name(faults: Faults) -> None:
    environ = {
        "PROVIDER_GAMING_PC_3090_ENDPOINT": "b.lan",
        "PROVIDER_GAMING_PC_3090_ENABLED": "perhaps",
        "PROVIDER_GAMING_PC_3090_API_KEY": "a b",
    }
    told = faults(ONE, environ)
    assert sorted(fault.split(": ")[1] for fault in told) == sorted(environ)
    assert "a b" not in "".join(told)


def test_a_variable_of_nobody_is_warned_about(warnings: Faults) -> None:
    environ = {"SOME_KEY": "k", "PROVIDER_GAMINGPC_3090_ENDPOINT": "http://b.lan"}
    assert warnings(ONE, environ) == [
        (
            "environment: PROVIDER_GAMINGPC_3090_ENDPOINT: no configured provider has this "
            "name (did you mean 'PROVIDER_GAMING_PC_3090_ENDPOINT'?)"
        )
    ]


def test_variables_of_others_are_left_alone(warnings: Faults) -> None:
    assert (
        warnings("", {"PROVIDER_REGION": "x", "PROVIDERS": "y", "PROXY_X": "z"}) == []
    )


def test_the_first_variable_of_a_kind_wins() -> None:
    both = {"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"}
    assert keys_of_kinds(both)["gemini"] == ("GOOGLE_API_KEY", "b")
    assert keys_of_kinds({"GEMINI_API_KEY": "a"})["gemini"] == ("GEMINI_API_KEY", "a")
    assert keys_of_kinds({"GEMINI_API_KEY": " "}) == {}


def test_our_own_address_is_known_under_its_names() -> None:
    assert is_own_address("localhost", 3500, "127.0.0.1", 3500)
    assert is_own_address("127.0.0.1", 3500, "0.0.0.0", 3500)
    assert is_own_address("box.lan", 3500, "box.lan", 3500)
    assert not is_own_address("127.0.0.1", 3501, "127.0.0.1", 3500)
    assert not is_own_address("other.lan", 3500, "127.0.0.1", 3500)
    assert not is_own_address("127.0.0.1", 0, "127.0.0.1", 0)


def test_lookups_take_an_empty_variable_for_none() -> None:
    environ = {"A": " x ", "B": "", "no_proxy": "low", "NO_PROXY": "high"}
    assert lookup(environ, "A") == "x"
    assert lookup(environ, "B") is None
    assert lookup_any_case(environ, "NO_PROXY") == "low"


def test_a_snapshot_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY_HOST", "a")
    taken = snapshot()
    monkeypatch.setenv("PROXY_HOST", "b")
    assert taken["PROXY_HOST"] == "a"
