from __future__ import annotations

import pytest

from proxy.relay.head import read_reply
from proxy.relay.headers import block_for_caller, for_caller, sse_fields

HOP = [
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
    "proxy-connection", "te", "transfer-encoding", "upgrade", "content-length",
]  # fmt: skip
PRIVATE = [
    "set-cookie", "set-cookie2", "alt-svc", "strict-transport-security", "via",
    "public-key-pins", "clear-site-data", "access-control-allow-origin",
    "access-control-expose-headers",
]  # fmt: skip
ITS_OWN = [
    "server", "x-powered-by", "openai-organization", "openai-project",
    "anthropic-organization-id", "cf-ray", "x-ratelimit-limit-requests",
    "ratelimit-limit", "anthropic-ratelimit-tokens-remaining", "x-should-retry",
    "x-proxy-provider",
]  # fmt: skip
KEPT = ["content-type", "retry-after", "etag", "date", "x-anything", "openai-version"]


def names(pairs: list[str], *, as_is: bool) -> list[str]:
    return [name for name, _ in for_caller([(n, "1") for n in pairs], as_is=as_is)]


def test_a_model_route_answers_in_our_own_name() -> None:
    assert names([*HOP, *PRIVATE, *ITS_OWN, *KEPT], as_is=False) == KEPT
    assert names(["x-request-id", "request-id"], as_is=False) == []


def test_pass_through_keeps_what_is_the_upstreams() -> None:
    kept = [*ITS_OWN, *KEPT]
    assert names([*HOP, *PRIVATE, *kept], as_is=True) == kept
    assert names(["x-request-id", "request-id"], as_is=True) == []


@pytest.mark.parametrize("as_is", [True, False])
def test_fields_named_by_connection_stay_on_this_hop(as_is: bool) -> None:
    pairs = [
        ("connection", "X-One , close"),
        ("connection", "x-two"),
        ("x-one", "1"),
        ("x-two", "2"),
        ("x-three", "3"),
    ]
    assert for_caller(pairs, as_is=as_is) == [("x-three", "3")]


def test_fields_that_come_twice_stay_in_order() -> None:
    pairs = [("link", "a"), ("x", "1"), ("link", "b")]
    assert for_caller(pairs) == pairs


def test_a_stream_is_never_cached_buffered_or_compressed() -> None:
    pairs = [
        ("cache-control", "max-age=60"),
        ("x-accel-buffering", "yes"),
        ("content-encoding", "identity"),
        ("content-type", "text/event-stream"),
    ]
    assert sse_fields(pairs) == [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ]


def test_the_encoded_block_is_remembered_for_each_kind_of_reply() -> None:
    head = read_reply(b"HTTP/1.1 200 OK\r\nServer: x\r\nEtag: y\r\n\r\n", "GET")
    plain = block_for_caller(head)
    assert plain == b"etag: y\r\n"
    assert block_for_caller(head, as_is=True) == b"server: x\r\netag: y\r\n"
    assert block_for_caller(head, events=True) == (
        b"etag: y\r\ncache-control: no-cache, no-transform\r\nx-accel-buffering: no\r\n"
    )
    assert block_for_caller(head) is plain
