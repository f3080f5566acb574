"""Whose secrets go where: a caller's to nobody, a provider's to that provider only."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.parts.http_text import chunk, head, post, whole
from tests.parts.inside import CHAT, COMPLETION, MESSAGES, OpenSite, Site, run_site
from tests.parts.scripts import (
    BODY,
    DONE,
    EVENT,
    STREAM,
    answers,
    ask,
    stream,
    then_close,
)

SECRET = "callers-secret-1234"
KEY = "sk-providers-key-5678"
FORMS = (
    "authorization: Bearer {}", "AUTHORIZATION: bearer {}", "Authorization: {}",
    "authorization: Basic {}", "x-api-key: {}", "X-API-Key: {}", "api-key: {}",
    "API-KEY: {}", "x-goog-api-key: {}", "X-Goog-Api-Key: {}", "cookie: key={}",
    "Cookie: a=b; c={}", "proxy-authorization: Basic {}", "Proxy-Authorization: {}",
)  # fmt: skip
UPGRADE = (
    "connection: Upgrade", "upgrade: websocket", "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ntiny\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--'
)


def requests(*fields: str) -> list[bytes]:
    """One to each way to a provider."""
    form = ("content-type: multipart/form-data; boundary=b",)
    return [
        post(CHAT, BODY, *fields),
        post(CHAT, STREAM, *fields),
        post(MESSAGES, BODY, *fields),
        ask("POST", "/v1/audio/transcriptions", *form, *fields, body=FORM),
        ask("POST", f"/providers/box{CHAT}", *fields, body=BODY),
        ask("GET", "/providers/box/version", *fields),
        ask("GET", "/v1/files", *fields),
        ask("GET", "/providers/box/v1/realtime", *UPGRADE, *fields),
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fast", [True, False])
async def test_a_callers_secret_goes_to_nobody(form: str, fast: bool) -> None:
    """In no spelling, alone or twice, nor named by Connection; the provider's key does."""
    field = form.format(SECRET)
    name = field.partition(":")[0]
    async with run_site(then_close(whole(COMPLETION)), fast=fast,
                        provider={"authSecret": KEY}) as site:  # fmt: skip
        for fields in ((field,), (field, "x-other: 1", field),
                       (field, f"connection: keep-alive, {name}")):  # fmt: skip
            for request in requests(*fields):
                if b"pgrade" in request and len(fields) == 2:
                    continue
                await site.ask(request)
        assert len(site.upstream.requests) >= 20
        for sent in site.upstream.requests:
            assert SECRET.encode() not in sent.raw
            given = [value for name, value in sent.headers if name == "authorization"]
            assert given == [f"Bearer {KEY}"]
        assert SECRET not in site.log.read_text()
        assert KEY not in site.log.read_text()


@pytest.fixture
async def keyed(open_site: OpenSite) -> Site:
    return await open_site(fast=True, provider={"authSecret": KEY})


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 422, 429, 500, 503])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": f"bad key {KEY}", "type": "invalid_request_error"}},
        {"error": {"message": "no", "type": "t", "code": KEY, "param": KEY}},
        {
            "error": {"message": "no", "type": f"t {KEY}"},
            "headers": {"x": f"Bearer {KEY}"},
        },
        {"error": {"message": "no", "details": [f"Bearer {KEY}"]}},
        {"error": {"message": "no " + "".join(f"\\u{ord(c):04x}" for c in KEY)}},
        {"error": "x", "detail": [{"loc": ["header", KEY], "msg": KEY}]},
    ],
)
@pytest.mark.parametrize("asked", [BODY, STREAM])
async def test_a_providers_key_comes_back_in_no_error(
    keyed: Site, status: int, body: dict[str, Any], asked: bytes
) -> None:
    text = json.dumps(body).replace("\\\\u", "\\u").encode()
    keyed.upstream.script = answers(whole(text, status=status))
    reply = await keyed.ask(post(CHAT, asked))
    assert reply.status >= 400
    assert KEY.encode() not in reply.raw
    assert KEY not in json.dumps(json.loads(reply.body))
    assert KEY not in keyed.log.read_text()


async def test_no_page_tells_a_key(keyed: Site) -> None:
    caller = await keyed.caller()
    for path in ("/", "/health?verbose=1", "/readyz", "/v1/info", "/v1/models", "/metrics",
                 "/errors", "/v1/models/tiny"):  # fmt: skip
        for accept in ("application/json", "text/html"):
            caller.send(ask("GET", path, f"accept: {accept}"))
            assert KEY.encode() not in (await caller.reply()).raw


async def test_a_failed_provider_tells_no_address(keyed: Site) -> None:
    port = keyed.upstream.url.rpartition(":")[2]
    keyed.upstream.script = then_close(b"")
    for asked in (BODY, STREAM):
        reply = await keyed.ask(post(CHAT, asked))
        assert reply.status == 502
        assert port.encode() not in reply.body
        assert b"127.0.0.1" not in reply.body


# -- what an upstream says for its own connection only --------------------------------

PRIVATE = (
    "set-cookie: s=1", "Set-Cookie2: s=1", 'alt-svc: h3=":443"', 'clear-site-data: "*"',
    "strict-transport-security: max-age=1", "access-control-allow-origin: *",
    "access-control-allow-credentials: true", "proxy-authenticate: Basic",
    "keep-alive: timeout=1", "x-hop: 1", "upgrade: h2c", "x-request-id: theirs",
)  # fmt: skip
FRAMED = ("connection: keep-alive, x-hop", "content-type: application/json")
IN_CHUNKS = ("transfer-encoding: chunked",)


@pytest.mark.parametrize("path", [CHAT, f"/providers/box{CHAT}", "/v1/brand-new"])
async def test_what_is_for_its_connection_only_stays_there(
    site: Site, path: str
) -> None:
    fields = (*PRIVATE, *FRAMED, f"content-length: {len(COMPLETION)}")
    site.upstream.script = answers(head(200, *fields) + COMPLETION)
    reply = await site.ask(post(path, BODY))
    assert_private(dict(reply.headers))


@pytest.mark.parametrize("path", [CHAT, f"/providers/box{CHAT}", "/v1/brand-new"])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_nor_does_it_come_as_a_trailer(site: Site, path: str, kind: str) -> None:
    """A cache or proxy may take a trailer for a header field."""
    fields = (f"content-type: {kind}", "connection: x-hop", *IN_CHUNKS)
    trailer = "".join(f"{field}\r\n" for field in (*PRIVATE, "content-length: 5",
                      "content-type: text/html", "x-checksum: 1"))  # fmt: skip
    body = chunk(EVENT + DONE if "event" in kind else COMPLETION)
    last = b"0\r\n" + trailer.encode() + b"\r\n"
    site.upstream.script = answers(head(200, *fields) + body + last)
    reply = await site.ask(post(path, STREAM if "event" in kind else BODY))
    end = reply.raw.rpartition(b"\r\n0\r\n")[2]
    names = [
        line.partition(":")[0].lower() for line in end.decode().splitlines() if line
    ]
    assert names == ["x-checksum"]


def assert_private(fields: dict[str, str]) -> None:
    kept = {field.partition(":")[0].lower() for field in PRIVATE} & set(fields)
    assert kept == {"x-request-id"}
    assert fields["x-request-id"] != "theirs"


# -- what is told in a header ------------------------------------------------------------

ODD_NAMES = (
    "a\r\nset-cookie: s=1", "a\nset-cookie: s=1", "a\r\n\r\n<html>", "a\0b", "m\u00fcller",
    "\u6a21\u578b", "\u2028", "\U0001f600", "a\tb", " a ", "x" * 3000, '"', "\x1b[31m",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("fast", [True, False])
async def test_a_models_name_begins_no_header_of_its_own(fast: bool, name: str) -> None:
    """Asked for as provider/model, it is passed on and told in x-proxy-model."""
    async with run_site(fast=fast, provider={"kind": "openai"}) as site:
        body = json.dumps({"model": f"box/{name}", "messages": []}).encode()
        reply = await site.ask(post(CHAT, body))
        assert reply.status == 200
        assert reply.header("set-cookie") is None
        assert json.loads(site.upstream.requests[-1].body)["model"] == name
        head_, _, _ = reply.raw.partition(b"\r\n\r\n")
        assert head_.isascii()
        assert all(byte >= 32 or byte in b"\t\r\n" for byte in head_)
        assert reply.body == COMPLETION
        [line] = site.log.read_text().splitlines()
        assert line.isprintable()


@pytest.mark.parametrize(
    "sent", ["a\x01b", "\x1b[31m", "\x7f", "a\xa0b", "\xff", "x" * 129, "\t", ""]
)
async def test_an_odd_id_is_neither_echoed_nor_logged(site: Site, sent: str) -> None:
    reply = await site.ask(post(CHAT, BODY, f"x-request-id: {sent}"))
    assert str(reply.header("x-request-id") or "req_").startswith("req_")
    assert reply.header("x-request-id") or reply.status == 400
    assert "\x1b" not in site.log.read_text()


async def test_an_id_forges_no_line_of_the_log(site: Site) -> None:
    forged = '1" status=200 path="/admin'
    await site.ask(
        post("/v1/brand-new/%22%20status=200%0Ax", BODY, f"x-request-id: {forged}")
    )
    await site.ask(post("/v1/brand-new/%22 status=200".replace(" ", "%20"), BODY))
    reply = await site.ask(post(CHAT, BODY, f"x-request-id: {forged}"))
    assert reply.header("x-request-id") == forged
    lines = site.log.read_text().splitlines()
    assert len(lines) == 2
    assert json.dumps(forged) in lines[1]


async def test_a_stream_that_fails_is_told_with_an_odd_id(site: Site) -> None:
    site.upstream.script = then_close(stream(EVENT, end=b""))
    reply = await site.ask(post(CHAT, STREAM, 'x-request-id: "}]\\n\\ndata: x'))
    told = reply.body.split(b"\n\n")[1]
    assert "request id" in json.loads(told.removeprefix(b"data: "))["error"]["message"]
    assert reply.body.endswith(b"\n\ndata: [DONE]\n\n")


@pytest.mark.parametrize(
    "request_",
    [
        ask("GET", "/"),
        ask("GET", "/healthz"),
        ask("GET", "/nowhere"),
        ask("DELETE", "/healthz"),
        ask("GET", "/%2e%2e/x"),
        ask(
            "OPTIONS",
            CHAT,
            "origin: http://localhost",
            "access-control-request-method: X",
        ),
        b"nonsense\r\n\r\n",
        post(CHAT, b"{"),
        post(CHAT, BODY),
    ],
)
async def test_no_reply_tells_what_it_was_made_with(
    site: Site, request_: bytes
) -> None:
    """Versions tell which weaknesses to try."""
    reply = (await site.ask(request_)).raw.lower()
    for word in (b"aiohttp", b"python", b"uvloop", b"traceback"):
        assert word not in reply
