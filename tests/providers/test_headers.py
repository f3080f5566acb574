from __future__ import annotations

import pytest

from providers.base import Prepared, Settings
from providers.headers import HeaderPolicy, auth_pair


def settings(**changes: object) -> Settings:
    return Settings("p", "http://box.lan", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [None, "", "  ", "\n"])
def test_a_blank_key_is_no_key(key: str | None) -> None:
    assert auth_pair("authorization", key) is None


def test_a_key_read_from_a_file_loses_its_line_end() -> None:
    assert auth_pair("authorization", "k1\n") == ("authorization", "Bearer k1")
    assert auth_pair("x-api-key", " k1 ") == ("x-api-key", "k1")


def test_an_operators_default_replaces_the_adapters() -> None:
    defaults = (("x-title", "ours"), ("x-other", "ours"))
    policy = HeaderPolicy(
        settings(headers=(("X-Title", "mine"),)), None, defaults=defaults
    )
    assert dict(policy.own) == {
        "x-other": "ours",
        "x-title": "mine",
        "accept-encoding": "identity",
    }


def test_a_caller_cannot_take_the_place_of_an_own_header() -> None:
    policy = HeaderPolicy(
        settings(headers=(("x-proxy-version", "1"),)), None, allowed=frozenset({"x-a"})
    )
    sent = policy.for_model([("x-proxy-version", "2"), ("x-a", "3")])
    assert sent == (
        ("x-a", "3"),
        ("x-proxy-version", "1"),
        ("accept-encoding", "identity"),
    )


def test_fields_that_connection_names_are_of_the_hop() -> None:
    policy = HeaderPolicy(settings(), None)
    fields = [("connection", "Close,  X-One"), ("x-one", "1"), ("x-two", "2")]
    assert policy.for_passage(fields) == (("x-two", "2"),)


def test_pass_through_leaves_the_encoding_to_the_caller() -> None:
    policy = HeaderPolicy(settings(), None)
    assert policy.for_passage([("accept-encoding", "br")]) == (
        ("accept-encoding", "br"),
    )
    assert policy.for_passage([]) == ()


def test_what_may_be_secret_is_known_and_placeholders_are_not() -> None:
    headers = (("x-auth-token", "Bearer abcdef"), ("x-org", "organisation"))
    policy = HeaderPolicy(settings(key="real-key", headers=headers), None)
    assert set(policy.secrets) == {"real-key", "Bearer abcdef", "abcdef"}
    assert HeaderPolicy(settings(key="x"), None).secrets == ()


def test_no_secret_is_shown() -> None:
    headers = (("x-team-key", "a-secret"),)
    settings = Settings("box", "http://box.lan", "a-secret", headers)
    prepared = Prepared("/v1/chat/completions", headers)
    assert "a-secret" not in repr(settings) + repr(prepared)
