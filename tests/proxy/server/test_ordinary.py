"""What every reply carries, and what is refused before the pipeline is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.vllm import VLLM
from tests.parts.http_text import Message, head, post, whole
from tests.parts.inside import CHAT, COMPLETION, MESSAGES, OpenSite, Site
from tests.parts.scripts import answers

BODY = b'{"model":"tiny","messages":[]}'


def get(path: str, *fields: str, method: str = "GET", host: str = "127.0.0.1") -> bytes:
    lines = (f"{method} {path} HTTP/1.1", f"host: {host}", *fields, "", "")
    return "\r\n".join(lines).encode("latin-1")


def error_of(reply: Message) -> Any:
    return json.loads(reply.body)["error"]


# -- ids ---------------------------------------------------------------------


@pytest.mark.parametrize("field", ["x-request-id", "x-client-request-id"])
async def test_the_callers_id_is_echoed_and_kept(site: Site, field: str) -> None:
    reply = await site.ask(post(CHAT, BODY, f"{field}: mine 1/ü".replace("ü", "u")))
    assert reply.header("x-request-id") == "mine 1/u"
    record = await site.record()
    assert record.client_request_id == "mine 1/u"
    assert record.id.startswith("req_")
    assert "mine 1/u" in site.log.read_text()


async def test_x_request_id_goes_first(site: Site) -> None:
    fields = ("x-client-request-id: second", "x-request-id: first")
    reply = await site.ask(post(CHAT, BODY, *fields))
    assert reply.header("x-request-id") == "first"


@pytest.mark.parametrize("sent", ["x" * 129, "gr\xfc\xdfe", "a\tb", ""])
async def test_an_id_that_is_none_is_replaced(site: Site, sent: str) -> None:
    reply = await site.ask(post(CHAT, BODY, f"x-request-id: {sent}"))
    record = await site.record()
    assert reply.header("x-request-id") == record.id
    assert record.client_request_id is None


async def test_an_id_of_128_characters_is_one(site: Site) -> None:
    reply = await site.ask(post(CHAT, BODY, f"x-request-id: {'x' * 128}"))
    assert reply.header("x-request-id") == "x" * 128


async def test_ids_are_made_here_and_never_twice(site: Site) -> None:
    caller = await site.caller()
    shown = set()
    for _ in range(3):
        caller.send(post(CHAT, BODY))
        shown.add((await caller.reply()).header("x-request-id"))
    shown.add((await site.ask(get("/healthz"))).header("x-request-id"))
    assert len(shown) == 4


@pytest.mark.parametrize("path", ["/healthz", "/health", "/", "/errors", "/v1/models"])
async def test_pages_carry_an_id_too(site: Site, path: str) -> None:
    reply = await site.ask(get(path, "x-request-id: mine"))
    assert reply.status == 200
    assert reply.header("x-request-id") == "mine"
    assert (await site.ask(get(path))).header("x-request-id")


async def test_the_upstreams_id_is_not_the_callers(site: Site) -> None:
    fields = ("content-type: application/json", "x-request-id: theirs",
              "request-id: theirs", "content-length: 2")  # fmt: skip
    site.upstream.script = answers(head(200, *fields) + b"{}")
    for path in (CHAT, MESSAGES, "/providers/box/v1/chat/completions"):
        reply = await site.ask(post(path, BODY, "x-request-id: mine"))
        assert reply.status == 200
        assert [v for n, v in reply.headers if n == "x-request-id"] == ["mine"]
        assert "theirs" not in [value for _, value in reply.headers]


async def test_anthropics_dialect_has_request_id_besides(site: Site) -> None:
    for path, field in (
        (MESSAGES, ""),
        ("/anthropic/v1/messages", ""),
        ("/v1/models", "anthropic-version: 2023-06-01"),
    ):
        request = post(path, BODY, "x-request-id: mine")
        if field:
            request = get(path, field, "x-request-id: mine")
        reply = await site.ask(request)
        assert reply.status == 200
        assert reply.header("request-id") == "mine"
    assert (await site.ask(post(CHAT, BODY))).header("request-id") is None


# -- refusals ------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/nothing", "/v2/chat", "/v1/tools/x", "/mcp", "/c1/x"]
)
async def test_no_route(site: Site, path: str) -> None:
    reply = await site.ask(get(path))
    assert reply.status == 404
    assert error_of(reply)["code"] == "not_found"
    assert (
        reply.header(
            "content-type",
        )
        is not None
    )
    assert reply.header("x-request-id")
    assert not site.upstream.requests


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", CHAT, "POST"),
        ("DELETE", "/v1/models", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("PATCH", "/v1/responses/r1", "GET, DELETE, HEAD"),
    ],
)
async def test_another_method(site: Site, method: str, path: str, allow: str) -> None:
    reply = await site.ask(get(path, "content-length: 0", method=method))
    assert reply.status == 405
    assert error_of(reply)["code"] == "method_not_allowed"
    assert reply.header("allow") == allow
    assert not site.upstream.requests


async def test_refusals_of_anthropics_routes_have_its_shape(site: Site) -> None:
    version = "anthropic-version: 2023-06-01"
    for request, status, kind in (
        (get(MESSAGES), 405, "invalid_request_error"),
        (get("/anthropic/v1/messages"), 405, "invalid_request_error"),
        (get("/v1/models/none", version), 404, "not_found_error"),
        (get("/anthropic/v1/models/none"), 404, "not_found_error"),
        (get("/nothing", version), 404, "not_found_error"),
        (get("/v1/tools/x", version), 404, "not_found_error"),
        (post(MESSAGES, b"{"), 400, "invalid_request_error"),
    ):
        reply = await site.ask(request)
        document = json.loads(reply.body)
        assert (reply.status, document["type"]) == (status, "error"), request
        assert document["error"]["type"] == kind
        assert document["request_id"] == reply.header("request-id")
        assert reply.header("x-request-id") == reply.header("request-id")


@pytest.mark.parametrize(
    "path", ["/v1/../health", "/v1/%2e%2e/x", "/v1/a%2fb", "/v1/\\"]
)
async def test_a_path_of_two_meanings(site: Site, path: str) -> None:
    reply = await site.ask(get(path))
    assert reply.status == 400
    assert error_of(reply)["code"] == "invalid_path"
    assert not site.upstream.requests


@pytest.mark.parametrize(
    "path", ["//v1/chat/completions", "/v1//chat/completions", "/V1/chat/completions"]
)
async def test_a_path_that_is_only_like_one(site: Site, path: str) -> None:
    site.upstream.script = answers(whole(b'{"detail":"Not Found"}', status=404))
    reply = await site.ask(post(path, BODY))
    assert reply.status == 404


async def test_an_encoded_path_is_the_same_route(site: Site) -> None:
    reply = await site.ask(post("/v1/%63hat/completions", BODY))
    assert reply.body == COMPLETION


async def test_the_absolute_form_is_the_same_route(site: Site) -> None:
    reply = await site.ask(post(f"http://127.0.0.1{CHAT}", BODY))
    assert reply.body == COMPLETION


async def test_a_defect_tells_nothing_of_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret of /var/somebody at 10.0.0.1:5432")

    monkeypatch.setattr(VLLM, "prepare", broken)
    monkeypatch.setattr("proxy.api.ops.json_reply", broken)
    for request in (
        post(CHAT, BODY, "x-request-id: mine"),
        get("/readyz", "x-request-id: mine"),
    ):
        reply = await site.ask(request)
        assert reply.status == 500
        error = error_of(reply)
        assert error["code"] == "internal_error"
        assert error["message"] == "Internal error. (request id mine)"
        assert b"Runtime" not in reply.raw
        assert b"10.0.0.1" not in reply.raw
    assert [bool(record.exc_info) for record in caplog.records] == [True, True]


# -- pages from elsewhere ---------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "a@127.0.0.1"]
)
async def test_an_unknown_host_is_refused(site: Site, host: str) -> None:
    bad = post(CHAT, BODY).replace(b"host: 127.0.0.1", f"host: {host}".encode())
    for request in (bad, get("/v1/models", host=host), get("/healthz", host=host)):
        reply = await site.ask(request)
        assert reply.status == 403
        assert error_of(reply)["code"] == "forbidden"
    assert not site.upstream.requests


async def test_a_foreign_page_is_refused(site: Site) -> None:
    field = "origin: https://evil.example"
    for request in (post(CHAT, BODY, field), get("/v1/models", field), get("/", field),
                    get("/v1/realtime", field, "connection: upgrade",
                        "upgrade: websocket")):  # fmt: skip
        reply = await site.ask(request)
        assert reply.status == 403
        assert error_of(reply)["code"] == "forbidden"
        assert reply.header("access-control-allow-origin") is None
    assert not site.upstream.requests


async def test_a_permitted_page_may_read_every_reply(site: Site) -> None:
    field = "origin: http://localhost:5173"
    site.upstream.script = answers(
        head(200, "content-type: application/json", "content-length: 2",
             "access-control-allow-origin: https://upstream.example",
             "access-control-allow-credentials: true") + b"{}")  # fmt: skip
    for request, status in (
        (post(CHAT, BODY, field), 200),
        (post(CHAT, b"{", field), 400),
        (post("/providers/box/v1/chat/completions", BODY, field), 200),
        (get("/v1/models", field), 200),
        (get("/v1/models/none", field), 404),
        (get("/nothing", field), 404),
        (get(CHAT, field), 405),
        (get("/v1/%2e%2e/x", field), 400),
    ):
        reply = await site.ask(request)
        assert reply.status == status
        origins = [v for n, v in reply.headers if n == "access-control-allow-origin"]
        assert origins == ["http://localhost:5173"]
        assert reply.header("access-control-expose-headers") == "*"
        assert reply.header("access-control-allow-credentials") is None


async def test_who_is_no_page_gets_no_such_fields(site: Site) -> None:
    reply = await site.ask(post(CHAT, BODY))
    assert not [n for n, _ in reply.headers if n.startswith("access-control-")]


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/providers/box/x", "/nothing"])
async def test_a_preflight_is_answered_here(site: Site, path: str) -> None:
    reply = await site.ask(
        get(path, "origin: http://localhost:5173", "access-control-request-method: POST",
            "access-control-request-headers: content-type",
            "access-control-request-private-network: true", method="OPTIONS")
    )  # fmt: skip
    assert reply.status == 204
    assert reply.header("access-control-allow-origin") == "http://localhost:5173"
    assert reply.header("access-control-allow-headers") == "content-type"
    assert reply.header("access-control-allow-private-network") == "true"
    assert reply.header("x-request-id")
    assert not site.upstream.requests


async def test_a_foreign_preflight_is_refused(site: Site) -> None:
    reply = await site.ask(
        get(CHAT, "origin: https://evil.example", "access-control-request-method: POST",
            method="OPTIONS")
    )  # fmt: skip
    assert reply.status == 403
    assert reply.header("access-control-allow-origin") is None


async def test_hosts_and_origins_can_be_allowed(open_site: OpenSite) -> None:
    site = await open_site(
        server={"allowedHosts": ["gw.example"],
                "cors": {"allowedOrigins": ["https://app.example"]}}
    )  # fmt: skip
    field = "origin: https://app.example"
    reply = await site.ask(get("/v1/models", field, host="gw.example:3500"))
    assert reply.status == 200
    assert reply.header("access-control-allow-origin") == "https://app.example"


# -- HTTP ------------------------------------------------------------------------


async def test_head_is_answered_as_get_without_a_body(site: Site) -> None:
    whole_reply = await site.ask(get("/v1/models"))
    caller = await site.caller()
    caller.send(get("/v1/models", method="HEAD") + get("/healthz"))
    reply = await caller.reply(to_head=True)
    assert reply.status == 200
    assert reply.header("content-length") == str(len(whole_reply.body))
    assert (await caller.reply()).body == b'{"status":"ok"}'


async def test_head_on_a_pass_through_path(site: Site) -> None:
    site.upstream.script = answers(
        head(200, "content-type: text/plain", "content-length: 5")
    )
    caller = await site.caller()
    caller.send(get("/providers/box/version", method="HEAD") + get("/healthz"))
    reply = await caller.reply(to_head=True)
    assert (reply.status, reply.header("content-length")) == (200, "5")
    assert site.upstream.requests[0].method == "HEAD"
    assert (await caller.reply()).status == 200


async def test_http_1_0_is_served_and_closed(site: Site) -> None:
    caller = await site.caller()
    caller.send(post(CHAT, BODY).replace(b"HTTP/1.1", b"HTTP/1.0"))
    reply = await caller.last()
    assert reply.body == COMPLETION
    assert reply.header("transfer-encoding") is None
    assert reply.header("connection") == "close"


async def test_http_1_0_gets_a_stream_until_the_end(site: Site) -> None:
    stream = b'data: {"choices":[{"index":0}]}\n\ndata: [DONE]\n\n'
    site.upstream.script = answers(whole(stream, kind="text/event-stream"))
    caller = await site.caller()
    body = b'{"model":"tiny","messages":[],"stream":true}'
    caller.send(post(CHAT, body).replace(b"HTTP/1.1", b"HTTP/1.0"))
    reply = await caller.last()
    assert reply.body == stream
    assert reply.header("transfer-encoding") is None


async def test_requests_sent_ahead_are_answered_in_their_order(site: Site) -> None:
    caller = await site.caller()
    requests = [post(CHAT, BODY, f"x-request-id: {n}") for n in range(4)]
    caller.send(b"".join([*requests, get("/healthz"), requests[0]]))
    replies = [await caller.reply() for _ in range(6)]
    ids = [reply.header("x-request-id") for reply in replies]
    assert ids[:4] == ["0", "1", "2", "3"]
    assert replies[4].body == b'{"status":"ok"}'
    assert ids[5] == "0"


@pytest.mark.parametrize(
    "request_", [post(CHAT, b"{"), get("/nothing"), get(CHAT), get("/v1/models/none")]
)
async def test_the_connection_serves_on_after_an_error(
    site: Site, request_: bytes
) -> None:
    caller = await site.caller()
    caller.send(request_)
    assert 400 <= (await caller.reply()).status < 500
    caller.send(post(CHAT, BODY))
    assert (await caller.reply()).body == COMPLETION


async def test_a_request_to_close_is_heeded(site: Site) -> None:
    caller = await site.caller()
    caller.send(post(CHAT, BODY, "connection: close"))
    reply = await caller.last()
    assert reply.body == COMPLETION
    assert reply.header("connection") == "close"


async def test_an_upgrade_to_something_else_is_not_made(site: Site) -> None:
    fields = (
        "connection: Upgrade, HTTP2-Settings",
        "upgrade: h2c",
        "http2-settings: AAM",
    )
    reply = await site.ask(post(CHAT, BODY, *fields))
    assert reply.body == COMPLETION
    assert site.upstream.requests[0].header("upgrade") is None
    assert site.upstream.requests[0].body == BODY
