from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import CallerFault
from proxy.server.paths import read_target


def test_a_plain_path_is_itself() -> None:
    target = read_target("/v1/models/qwen3:0.6b")
    assert (target.raw, target.path, target.query) == (
        "/v1/models/qwen3:0.6b",
        "/v1/models/qwen3:0.6b",
        "",
    )
    assert target.sent == "/v1/models/qwen3:0.6b"


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("/v1/%6dodels", "/v1/models"),
        ("/ollama/api/%64elete", "/ollama/api/delete"),
        ("/v1/models/a%20b", "/v1/models/a b"),
        ("/v1/models/gr%C3%BC%C3%9F", "/v1/models/grüß"),
        ("/v1/models/50%25", "/v1/models/50%"),
        ("/v1/models/%2561", "/v1/models/%61"),
        ("/", "/"),
        ("//v1/models", "//v1/models"),
        ("/a/..b/.c/...", "/a/..b/.c/..."),
    ],
)
def test_a_path_is_decoded_once(sent: str, path: str) -> None:
    target = read_target(sent)
    assert target.path == path
    assert target.sent == sent


@pytest.mark.parametrize(
    "sent",
    [
        "/v1/../health",
        "/v1/.",
        "/v1/./models",
        "/v1/..",
        "/v1/%2e%2e/health",
        "/v1/%2E./health",
        "/v1/models/a%2Fb",
        "/v1/models/a%2fb",
        "/v1/models/a%5Cb",
        "/v1/models/a%5cb",
        "/v1/models/a\\b",
        "/v1/%",
        "/v1/%zz",
        "/v1/%6",
        "/v1/%ff",
        "/v1/%c0%af",
        "/v1/%00",
        "/v1/%0a",
        "/v1/\x7f",
        "/v1/models#part",
        "/v1/models?x=\x01",
        "*",
        "v1/models",
        "ftp://host/v1",
        "host:80",
        "",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(sent: str) -> None:
    with pytest.raises(CallerFault) as refused:
        read_target(sent)
    assert refused.value.code == "invalid_path"
    assert refused.value.status == 400


def test_a_query_stays_as_sent() -> None:
    target = read_target("/v1/new?a=%2F..%5C&b=1+2&b=/../?")
    assert target.query == "a=%2F..%5C&b=1+2&b=/../?"
    assert target.sent == "/v1/new?a=%2F..%5C&b=1+2&b=/../?"


@pytest.mark.parametrize(
    ("sent", "origin_form"),
    [
        ("http://gateway.lan:3500/v1/models?x=1", "/v1/models?x=1"),
        ("HTTPS://gateway.lan/v1/models", "/v1/models"),
        ("http://gateway.lan", "/"),
    ],
)
def test_the_absolute_form_is_taken_for_its_path(sent: str, origin_form: str) -> None:
    assert read_target(sent).sent == origin_form


@pytest.mark.parametrize(
    ("sent", "segments", "rest"),
    [
        ("/ollama/api/tags", 1, "/api/tags"),
        ("/ollama/api/tags?x=1", 1, "/api/tags?x=1"),
        ("/ollama/", 1, "/"),
        ("/ollama//api/delete", 1, "//api/delete"),
        ("/ollama/api/%64elete", 1, "/api/%64elete"),
        ("/%6Fllama/api/tags", 1, "/api/tags"),
        ("/providers/box/v1/models", 2, "/v1/models"),
        ("/providers/box/", 2, "/"),
    ],
)
def test_what_follows_a_prefix_is_as_sent(sent: str, segments: int, rest: str) -> None:
    assert read_target(sent).raw_after(segments) == rest


def test_bytes_beyond_ascii_go_on_as_they_came() -> None:
    """As aiohttp hands them on: decoded as UTF-8, else as lone surrogates."""
    target = read_target(b"/v1/gr\xc3\xbc?q=\xe6\xbc\xa2&r=\xff".decode(
        "utf-8", "surrogateescape"
    ))  # fmt: skip
    assert target.path == "/v1/grü"
    assert target.sent.encode("latin-1") == b"/v1/gr\xc3\xbc?q=\xe6\xbc\xa2&r=\xff"


def test_a_path_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(CallerFault):
        read_target(b"/v1/\xff".decode("utf-8", "surrogateescape"))


@given(st.text(max_size=40))
def test_anything_is_read_or_refused(rest: str) -> None:
    try:
        target = read_target("/" + rest)
    except CallerFault:
        return
    assert not {".", ".."} & set(target.path.split("/"))
    assert "\\" not in target.path
    assert target.path.isprintable() or " " in target.path or not target.path.isascii()
    assert len(target.path.split("/")) == len(target.raw.split("/"))
