"""The wall before the owner's paths: for this machine, asked directly, and no page.

Who is elsewhere shows it by a header of whoever stands between, by the Host, or by
the peer's address.
"""

from __future__ import annotations

import pytest

from proxy.auth.access import Access
from proxy.core.types import Headers
from tests.parts.inside import CHAT, OpenSite, Site
from tests.parts.scripts import ask, error_of

BOX = "/providers/box"
ELSEWHERE = (
    "x-forwarded-for: 127.0.0.1", "X-FORWARDED-FOR: 1.2.3.4", "x-forwarded: for=1.2.3.4",
    "x-forwarded-host: gateway.lan", "forwarded: for=127.0.0.1", "via: 1.1 127.0.0.1",
    "x-real-ip: 127.0.0.1", "x-client-ip: 1.2.3.4", "client-ip: 1.2.3.4",
    "true-client-ip: 1.2.3.4", "cf-connecting-ip: 1.2.3.4",
    "x-original-forwarded-for: 1.2.3.4", "x-forwarded-for:", "host: 10.0.0.7",
    "host: gateway.lan", "host: 0.0.0.0", "host: [::]",
)  # fmt: skip
# Ways to write what vLLM keeps for its owner, or what is nobody's rule.
SPELLINGS = (
    ("POST", "/sleep"), ("POST", "/%73leep"), ("POST", "/%2573leep"), ("POST", "//sleep"),
    ("POST", "/sleep/"), ("POST", "/sleep;x=1"), ("POST", "/sleep%3Bx"),
    ("POST", "/SLEEP"), ("POST", "/sleep%00"), ("POST", "/sleep%20"), ("POST", "/sleep?x=1"),
    ("POST", "/sleep%3Fx"), ("POST", "/./sleep"), ("POST", "/v1/../sleep"),
    ("POST", "/v1/%2e%2e/sleep"), ("POST", "/v1%2f..%2fsleep"), ("POST", "/v1/..%5csleep"),
    ("POST", "/v1/..;/sleep"), ("POST", "/%252e%252e/sleep"), ("POST", "/health"),
    ("POST", "/v1/load_lora_adapter"), ("GET", "/server_info"), ("HEAD", "/server_info"),
    ("OPTIONS", "/sleep"), ("PUT", "/sleep"), ("DELETE", "/v1/models/tiny"),
    ("PROPFIND", "/health"), ("GET", "/nowhere"), ("GET", "/health/../server_info"),
    ("GET", "/health%2f..%2fserver_info"), ("GET", "/health/"), ("GET", "/v1/models/"),
)  # fmt: skip


@pytest.mark.parametrize(("method", "path"), SPELLINGS)
async def test_from_elsewhere_no_spelling_opens_an_owners_path(
    site: Site, method: str, path: str
) -> None:
    caller = await site.caller()
    for field in ("x-forwarded-for: 1.2.3.4", "host: gateway.lan"):
        caller.send(ask(method, f"{BOX}{path}", field))
        assert (await caller.reply(to_head=method == "HEAD")).status in (400, 403)
    assert not site.upstream.requests


@pytest.mark.parametrize("field", ELSEWHERE)
async def test_whoever_stands_between_is_believed(site: Site, field: str) -> None:
    reply = await site.ask(ask("POST", f"{BOX}/sleep", field))
    assert (reply.status, error_of(reply)["code"]) == (403, "forbidden")
    assert not site.upstream.requests


KEPT_BELOW_V1 = {
    "vllm": ("POST", "/v1/load_lora_adapter"),
    "llamacpp": ("GET", "/v1/streams"),
}


@pytest.mark.parametrize("kind", KEPT_BELOW_V1)
@pytest.mark.parametrize("spelt", ["{}", "{}/", "/{}", "{}?x=1", "{};x"])
async def test_below_v1_an_owners_path_is_the_owners_too(
    open_site: OpenSite, kind: str, spelt: str
) -> None:
    """Paths that we do not know go to the default provider, those it keeps do not."""
    site = await open_site(provider={"kind": kind})
    method, path = KEPT_BELOW_V1[kind]
    target = spelt.format(path).replace("//v1/", "/v1//")
    reply = await site.ask(ask(method, target, "x-forwarded-for: 1.2.3.4"))
    assert (reply.status, error_of(reply)["code"]) == (403, "forbidden")
    assert not site.upstream.requests
    assert (await site.ask(ask(method, target))).status == 200


async def test_below_v1_what_nobody_keeps_is_everybodys(site: Site) -> None:
    for path in ("/v1/files", "/v1/fine_tuning/jobs/1", "/v1/brand-new"):
        reply = await site.ask(ask("GET", path, "x-forwarded-for: 1.2.3.4"))
        assert reply.status == 200


@pytest.mark.parametrize(
    "field",
    ["x-http-method-override: DELETE", "X-HTTP-Method: DELETE", "x-method-override: PUT",
     "x-original-url: /sleep", "x-rewrite-url: /sleep"],
)  # fmt: skip
async def test_no_header_makes_it_another_request(site: Site, field: str) -> None:
    for path in (f"{BOX}/tokenize", f"{BOX}{CHAT}", "/v1/brand-new"):
        fields = (field, "x-forwarded-for: 1.2.3.4")
        reply = await site.ask(ask("POST", path, *fields, body=b'{"model":"tiny"}'))
        assert reply.status == 200
        assert site.upstream.requests[-1].method == "POST"
        name = field.partition(":")[0].lower()
        assert site.upstream.requests[-1].header(name) is None


UPGRADE = (
    "connection: Upgrade", "upgrade: websocket", "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/server_info", "/nowhere", "/v1/realtime/", "/%2e/x"]
)
async def test_an_upgrade_opens_no_owners_path(site: Site, path: str) -> None:
    for field in ("x-forwarded-for: 1.2.3.4", "origin: http://evil.example",
                  "host: evil.example"):  # fmt: skip
        reply = await site.ask(ask("GET", f"{BOX}{path}", *UPGRADE, field))
        assert reply.status in (400, 403)
    assert not site.upstream.requests


# -- pages in the owner's browser -----------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((), 200),
        (("sec-fetch-site: none",), 200),
        (("sec-fetch-site: same-origin",), 200),
        (("sec-fetch-site: cross-site", "origin: http://localhost:8080"), 200),
        (("sec-fetch-site: cross-site",), 403),
        (("sec-fetch-site: cross-site", "sec-fetch-mode: navigate"), 403),
        (("sec-fetch-site: cross-site", "origin: http://evil.example"), 403),
        (("sec-fetch-site: cross-site", "origin: null"), 403),
    ],
)
async def test_a_foreign_page_is_not_the_owner(
    site: Site, fields: tuple[str, ...], status: int
) -> None:
    """Its images, links and frames come from the owner's own browser, with no Origin."""
    assert (await site.ask(ask("GET", f"{BOX}/server_info", *fields))).status == status


# -- the peer --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "is_owner"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),  # every 127/8 is this machine, and no router passes it on
        ("127.255.255.254", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("::127.0.0.1", False),
        ("fe80::1%lo", False),
        ("10.0.0.1", False),
        ("169.254.1.1", False),
        ("0.0.0.0", False),
        ("2130706433", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_the_peer_must_be_this_machine(peer: str, is_owner: bool) -> None:
    headers = Headers([("host", "127.0.0.1:3500")])
    assert Access((), (), names=()).is_owner(headers, peer) is is_owner


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "127.0.0.1.evil.example", "127.0.0.1%.evil.example", "[::1",
     "::1", "2130706433", "0x7f.1", "0x7f.0.0.1", "0177.0.0.1", "127.1", "0", "127.0.0.1%2e",
     "127.0.0.1@evil.example", "evil.example@127.0.0.1", "localhost.evil.example",
     "127.0.0.1:80:80", "127.0.0.1:", "127.0.0.1:+1", "127.0.0.1, evil.example",
     "x.localhost", "gateway.lan"],
)  # fmt: skip
def test_the_host_must_be_loopback_too(host: str) -> None:
    headers = Headers([("host", host)])
    assert Access((), (), names=()).is_owner(headers, "127.0.0.1") is False
