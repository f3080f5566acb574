"""Providers in force: keys, addresses, deadlines, proxies."""

from __future__ import annotations

import pytest

from proxy.config import Config, ProviderConfig, Timeouts, found_provider
from proxy.config.outbound import Outbound
from proxy.config.resolve import is_sendable
from proxy.config.value import base_url
from tests.proxy.config.conftest import Faults, Read


def only(
    read: Read, rest: str, environ: dict[str, str] | None = None
) -> ProviderConfig:
    (provider,) = read(f"providers: [{{id: a, {rest}}}]", environ).config.providers
    return provider


VLLM = "kind: vllm, endpoint: 'http://a.lan:8000'"


def test_a_secret_in_capitals_is_the_name_of_a_variable(read: Read) -> None:
    provider = only(read, f"{VLLM}, authSecret: MY_KEY", {"MY_KEY": "hush\n"})
    assert provider.keys == ("hush",)


def test_a_missing_variable_is_an_error_that_names_it(faults: Faults) -> None:
    text = f"providers: [{{id: a, {VLLM}, authSecret: OPENAI_KEY}}]"
    environ = {"OPENAI_API_KEY": "hush", "OPENBLAS_L2_SIZE": "1"}
    assert faults(text, environ) == [
        (
            "1: providers[0].authSecret: the environment variable OPENAI_KEY is not set "
            "(did you mean 'OPENAI_API_KEY'?)"
        )
    ]
    assert len(faults(text, {"OPENAI_KEY": " "})) == 1


def test_another_literal_is_taken_with_a_warning(read: Read) -> None:
    loaded = read(f"providers: [{{id: a, {VLLM}, authSecret: sk-hush}}]")
    assert loaded.config.providers[0].keys == ("sk-hush",)
    (warning,) = loaded.warnings
    assert str(warning).endswith(
        ":1: providers[0].authSecret: holds a key in plain text; write the name of a "
        "variable or ${file:…}"
    )


def test_what_an_expansion_gives_is_the_key_itself(read: Read) -> None:
    text = f"providers: [{{id: a, {VLLM}, authSecret: '${{env:K}}'}}]"
    loaded = read(text, {"K": "ABC_DEF"})
    assert loaded.config.providers[0].keys == ("ABC_DEF",)
    assert loaded.warnings == ()


def test_an_expansion_that_gives_nothing_is_no_key(read: Read) -> None:
    assert only(read, f"{VLLM}, authSecret: '${{env:K:-}}'").keys == ()


def test_several_secrets_keep_their_order(read: Read) -> None:
    environ = {"K_ONE": "1", "K_TWO": "2"}
    provider = only(read, f"{VLLM}, authSecrets: [K_TWO, K_ONE]", environ)
    assert provider.keys == ("2", "1")


def test_one_secret_and_several_do_not_go_together(faults: Faults) -> None:
    text = f"providers: [{{id: a, {VLLM}, authSecret: A_K, authSecrets: [A_K]}}]"
    assert faults(text, {"A_K": "x"}) == [
        "1: providers[0].authSecrets: cannot go with authSecret; write one of them"
    ]


def test_a_key_that_no_header_can_hold_is_refused_unseen(faults: Faults) -> None:
    text = f"providers: [{{id: a, {VLLM}, authSecrets: [A_K, 'ké y']}}]"
    told = faults(text, {"A_K": "x\r\nevil: 1"})
    assert [fault.split(": ")[1] for fault in told] == [
        "providers[0].authSecrets[0]",
        "providers[0].authSecrets[1]",
    ]
    assert not any("evil" in fault or "ké" in fault for fault in told)
    assert is_sendable("sk-1")


@pytest.mark.parametrize(
    ("rest", "keys"),
    [
        ("kind: openai", ("k",)),
        ("kind: openai, endpoint: 'https://api.openai.com/v1'", ("k",)),
        ("kind: openai, endpoint: 'https://elsewhere.example/v1'", ()),
        ("kind: openai, forwardAuth: true", ("k",)),
        ("kind: openai, authSecret: OTHER_K", ("o",)),
        ("kind: openai, authSecret: ''", ()),
        ("kind: openai-compatible, endpoint: 'https://api.openai.com/v1'", ()),
        (VLLM, ("v",)),
    ],
)
def test_a_kinds_key_goes_to_its_own_address_only(
    read: Read, rest: str, keys: tuple[str, ...]
) -> None:
    environ = {"OPENAI_API_KEY": "k", "OTHER_K": "o", "VLLM_API_KEY": "v"}
    assert only(read, rest, environ).keys == keys


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        ("http://a:8000", "http://a:8000"),
        ("http://a:8000/", "http://a:8000"),
        ("http://a:8000/v1", "http://a:8000"),
        ("http://a:8000/v1/", "http://a:8000"),
        ("http://a/api/v1", "http://a/api"),
        ("http://a/api/paas/v4", "http://a/api/paas/v4"),
        ("http://a/v10", "http://a/v10"),
        ("http://v1", "http://v1"),
    ],
)
def test_a_closing_v1_makes_no_difference(endpoint: str, base: str) -> None:
    assert base_url(endpoint) == base


@pytest.mark.parametrize(
    ("rest", "type_"),
    [
        ("kind: ollama, endpoint: 'http://a.example'", "local"),
        ("kind: openrouter", "cloud"),
        ("kind: openai, type: local", "local"),
        ("kind: openai-compatible, endpoint: 'http://box:1'", "local"),
        ("kind: openai-compatible, endpoint: 'http://127.0.0.1:1'", "local"),
        ("kind: openai-compatible, endpoint: 'http://192.168.1.5'", "local"),
        ("kind: openai-compatible, endpoint: 'http://[fd00::1]:1'", "local"),
        ("kind: openai-compatible, endpoint: 'http://box.lan'", "local"),
        ("kind: openai-compatible, endpoint: 'https://api.example'", "cloud"),
        ("kind: openai-compatible, endpoint: 'http://8.8.8.8'", "cloud"),
    ],
)
def test_the_type_follows_from_kind_and_address(
    read: Read, rest: str, type_: str
) -> None:
    assert only(read, rest).type == type_


def test_deadlines_follow_from_the_type(read: Read) -> None:
    assert only(read, VLLM).timeouts == Timeouts(5, 60, 600, 120, 600)
    assert only(read, "kind: openai").timeouts == Timeouts(10, 60, 120, 120, 600)
    given = only(read, "kind: openai, timeouts: {firstByte: 300, write: 9}").timeouts
    assert given == Timeouts(10, 9, 300, 120, 600)


def test_probes_of_clouds_are_rarer(read: Read) -> None:
    assert only(read, VLLM).health_check_interval == 30
    assert only(read, "kind: openai").health_check_interval == 60
    assert only(read, "kind: openai, healthCheckInterval: 7").health_check_interval == 7


def test_no_limit_differs_from_no_word_about_it(read: Read) -> None:
    silent, unlimited = only(read, VLLM), only(read, f"{VLLM}, maxConcurrent: null")
    assert (silent.max_concurrent, silent.max_concurrent_given) == (None, False)
    assert (unlimited.max_concurrent, unlimited.max_concurrent_given) == (None, True)


def test_header_names_are_lower_case(read: Read) -> None:
    provider = only(read, f"{VLLM}, headers: {{X-Team: A}}, forwardHeaders: [X-Trace]")
    assert provider.headers == (("x-team", "A"),)
    assert provider.forward_headers == ("x-trace",)


def test_the_name_is_the_id_unless_given(read: Read) -> None:
    assert only(read, VLLM).name == "a"
    assert only(read, f"{VLLM}, name: Box").name == "Box"


def test_a_proxy_of_its_own_wins_over_the_environments(read: Read) -> None:
    environ = {"HTTPS_PROXY": "http://out.lan:3128", "NO_PROXY": "openrouter.ai"}
    assert only(read, "kind: openai", environ).proxy == "http://out.lan:3128"
    assert only(read, "kind: openrouter", environ).proxy is None
    own = "kind: openrouter, proxy: 'http://own.lan:1'"
    assert only(read, own, environ).proxy == "http://own.lan:1"


def test_a_found_cloud_is_like_a_configured_one(read: Read) -> None:
    environ = {"OPENAI_API_KEY": "k", "HTTPS_PROXY": "out.lan:3128"}
    config = read("", environ).config
    found = found_provider(config, "openai")
    assert found.discovered
    assert (found.id, found.type, found.keys) == ("openai", "cloud", ("k",))
    assert found.base_url == "https://api.openai.com"
    assert found.proxy == "http://out.lan:3128"
    assert found.timeouts.first_byte == 120


def test_a_found_local_server_gets_the_key_of_its_kind() -> None:
    config = Config(local_keys={"lmstudio": "token"})
    found = found_provider(config, "lmstudio", "http://127.0.0.1:1234/v1", id_="lm-2")
    assert (found.id, found.keys, found.type) == ("lm-2", ("token",), "local")
    assert found.endpoint == "http://127.0.0.1:1234"
    with pytest.raises(ValueError, match="needs an endpoint"):
        found_provider(config, "ollama")


@pytest.mark.parametrize(
    ("no_proxy", "url", "proxied"),
    [
        ("", "https://a.example", True),
        ("", "http://a.example", False),
        ("", "https://localhost", False),
        ("", "https://127.0.0.1:1", False),
        ("", "https://[::1]", False),
        ("*", "https://a.example", False),
        ("example", "https://a.example", False),
        (".example", "https://a.example", False),
        ("*.example", "https://a.example", False),
        ("a.example", "https://A.example", False),
        ("b.example", "https://a.example", True),
        ("xample", "https://a.example", True),
        ("x, a.example:443", "https://a.example", False),
        ("a.example:444", "https://a.example", True),
        ("10.0.0.0/8", "https://10.1.2.3", False),
        ("10.0.0.0/8", "https://11.1.2.3", True),
        ("192.168.1.1", "https://192.168.1.1", False),
    ],
)
def test_the_outbound_proxy_is_for_https_elsewhere(
    no_proxy: str, url: str, proxied: bool
) -> None:
    outbound = Outbound.read("http://out.lan:1", no_proxy)
    assert (outbound.proxy_for(url) is not None) is proxied


def test_without_a_proxy_there_is_none() -> None:
    assert Outbound.read(None, None).proxy_for("https://a.example") is None
