"""A page in the owner's browser cannot drive the gateway, whatever its name leads to."""

from __future__ import annotations

import json

import pytest

from tests.parts.http_text import post
from tests.parts.inside import CHAT, MESSAGES, Site
from tests.parts.scripts import BODY, ask, error_of

REBOUND = (
    "evil.example", "evil.example:3500", "127.0.0.1.evil.example", "localhost.evil.example",
    "127.0.0.1%.evil.example", "127.0.0.1%25.evil.example", "[::1].evil.example",
    "127.0.0.1@evil.example", "evil.example@127.0.0.1", "evil.example:80@127.0.0.1",
    "127.0.0.1:3500@evil.example", "evil.example#127.0.0.1", "evil.example/127.0.0.1",
    "2130706433", "0x7f.1", "0x7f000001", "017700000001", "127.1", "0", "evil.example.",
    "evil.example:99999999", "127.0.0.1 evil.example", "127.0.0.1,evil.example",
    "lan", ".", "..", "[::1", "::1", "[evil.example]", "loc\xe4lhost",
)  # fmt: skip
ROUTES = (
    ("POST", CHAT), ("POST", MESSAGES), ("GET", "/v1/models"), ("GET", "/v1/info"),
    ("GET", "/health?verbose=1"), ("GET", "/"), ("GET", "/metrics"), ("GET", "/errors"),
    ("POST", "/providers/box/tokenize"), ("GET", "/providers/box/version"),
    ("POST", "/v1/brand-new"), ("GET", "/v1/responses/resp_1"),
)  # fmt: skip


@pytest.mark.parametrize("host", REBOUND)
async def test_a_name_that_was_led_here_is_refused(site: Site, host: str) -> None:
    caller = await site.caller()
    for method, path in ROUTES:
        caller.send(ask(method, path, f"host: {host}", body=BODY))
        reply = await caller.reply()
        assert (reply.status, error_code(reply.body, path)) == (403, "forbidden"), path
    assert not site.upstream.requests


def error_code(body: bytes, path: str) -> str:
    error = json.loads(body)["error"]
    return "forbidden" if error["type"] == "permission_error" else str(error)


FOREIGN = (
    "null", "http://evil.example", "https://evil.example:3500", "http://localhost.evil.example",
    "http://127.0.0.1.evil.example", "http://127.0.0.1:3500@evil.example",
    "http://evil.example@127.0.0.1:3500", "http://127.0.0.1%00.evil.example",
    "http://evil.example#@127.0.0.1", "http://evil.example\\@127.0.0.1",
    "http://[::1].evil.example", "//127.0.0.1", "127.0.0.1", "http:127.0.0.1", "http:",
    "javascript:127.0.0.1", "data:127.0.0.1", "blob:http://127.0.0.1", "about:blank",
    "chrome-extension://abcdef", "http://evil.example, http://127.0.0.1",
    "http://127.0.0.1 http://evil.example", "http://2130706433", "http://192.168.1.9",
    "\x20", "*", "file", "appx://x", "ws://127.0.0.1",
)  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_page_is_refused_and_may_not_read_why(
    site: Site, origin: str
) -> None:
    caller = await site.caller()
    for method, path in ROUTES:
        caller.send(ask(method, path, f"origin: {origin}", body=BODY))
        reply = await caller.reply()
        assert (reply.status, error_code(reply.body, path)) == (403, "forbidden"), path
        assert reply.header("access-control-allow-origin") is None
    assert not site.upstream.requests


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_page_gets_no_preflight(site: Site, origin: str) -> None:
    fields = (f"origin: {origin}", "access-control-request-method: DELETE",
              "access-control-request-headers: authorization",
              "access-control-request-private-network: true")  # fmt: skip
    for path in (CHAT, "/providers/box/sleep", "/nowhere", "/v1/brand-new"):
        reply = await site.ask(ask("OPTIONS", path, *fields))
        assert reply.status == 403
        assert not [n for n, _ in reply.headers if n.startswith("access-control-")]
    assert not site.upstream.requests


async def test_a_second_origin_or_host_hides_nothing(site: Site) -> None:
    good, evil = "http://localhost:8080", "http://evil.example"
    reply = await site.ask(post(CHAT, BODY, f"origin: {evil}", f"origin: {good}"))
    assert reply.status in (400, 403)
    reply = await site.ask(post(CHAT, BODY, "host: evil.example"))
    assert reply.status in (400, 403)
    assert not site.upstream.requests


async def test_no_credentials_are_allowed_and_caches_are_told(site: Site) -> None:
    reply = await site.ask(post(CHAT, BODY, "origin: http://localhost:8080"))
    assert reply.header("access-control-allow-origin") == "http://localhost:8080"
    assert reply.header("access-control-allow-credentials") is None
    assert "origin" in str(reply.header("vary")).lower()


async def test_what_a_page_could_draw_is_text(site: Site) -> None:
    """Nothing that a caller sends becomes markup of a page."""
    evil = "<script>alert(1)</script>"
    caller = await site.caller()
    for path in (f"/?x={evil}", "/errors"):
        caller.send(ask("GET", path, "accept: text/html", f"x-request-id: {evil}"))
        reply = await caller.reply()
        assert evil.encode() not in reply.body
        assert "default-src 'none'" in str(reply.header("content-security-policy"))
    reply = await site.ask(post(CHAT, json.dumps({"model": evil}).encode()))
    assert (
        reply.header(
            "content-type",
        )
        == "application/json"
    )
    assert evil in error_of(reply)["message"]
