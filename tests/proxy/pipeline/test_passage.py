"""Pass-through: who gets it, who may, and that nothing is changed."""

from __future__ import annotations

import asyncio
import json
from typing import cast

import pytest

from providers.wire.dialect import Dialect
from proxy.pipeline.passage import dialect_of, gather_body
from proxy.relay.client import Outgoing
from proxy.server.buffered import WholeBody
from tests.parts.http_text import LAST_CHUNK, chunk, head, post
from tests.parts.inside import CHAT, OpenSite, Site
from tests.parts.scripts import (
    DONE,
    EVENT,
    STREAM,
    answers,
    ask,
    error_of,
    stream,
    then_close,
)

BOX = "/providers/box"


# -- as it is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"]
)
@pytest.mark.parametrize("body", [b"", b'\x00\xff not { json "'])
async def test_any_method_query_and_body_go_there(
    site: Site, method: str, body: bytes
) -> None:
    request = ask(method, f"{BOX}/odd/path?x=%20&y=a+b&x=", "x-odd: 1", body=body)
    reply = await site.ask(request)
    assert reply.status == 200
    [sent] = site.upstream.requests
    assert sent.start == f"{method} /odd/path?x=%20&y=a+b&x= HTTP/1.1"
    assert sent.body == body
    assert sent.header("x-odd") == "1"
    assert sent.header("host") == site.upstream.url.removeprefix("http://")


async def test_a_chunked_body_stays_chunked(site: Site) -> None:
    request = ask("GET", f"{BOX}/odd", "transfer-encoding: chunked")
    await site.ask(request + chunk(b"one") + chunk(b"two") + LAST_CHUNK)
    [sent] = site.upstream.requests
    assert sent.body == b"onetwo"
    assert sent.header("transfer-encoding") == "chunked"


@pytest.mark.parametrize("status", [200, 201, 206, 301, 304, 400, 404, 418, 500, 503])
async def test_the_reply_comes_back_as_it_is(site: Site, status: int) -> None:
    body = b"" if status == 304 else b"\x00 \xff"
    fields = ("content-type: x/y", "x-odd: a", "x-odd: b", 'etag: "1"',
              f"content-length: {len(body)}")  # fmt: skip
    site.upstream.script = answers(head(status, *fields) + body)
    reply = await site.ask(ask("GET", f"{BOX}/odd"))
    assert (reply.status, reply.body) == (status, body)
    assert [v for n, v in reply.headers if n == "x-odd"] == ["a", "b"]
    assert reply.header("etag") == '"1"'
    assert reply.header("content-type") == "x/y"
    assert reply.header("x-proxy-provider") == "box"
    record = await site.record()
    assert (record.status, record.operation) == (status, "pass_through")
    assert record.bytes_out == len(body)


async def test_trailers_come_back_too(site: Site) -> None:
    fields = ("content-type: text/plain", "transfer-encoding: chunked")
    site.upstream.script = answers(
        head(200, *fields) + chunk(b"body") + b"0\r\nx-sum: 7\r\n\r\n"
    )
    caller = await site.caller()
    caller.send(ask("GET", f"{BOX}/odd"))
    assert b"0\r\nx-sum: 7\r\n\r\n" in await caller.until(b"x-sum: 7\r\n\r\n")


async def test_it_streams_both_ways(open_site: OpenSite) -> None:
    """The upstream answers while the request is still being sent."""

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.Transport, transport)

        def data_received(self, data: bytes) -> None:
            if b"second" in data:
                self.transport.write(chunk(b"second") + LAST_CHUNK)
            elif b"POST" in data:
                fields = ("content-type: x/y", "transfer-encoding: chunked")
                self.transport.write(head(200, *fields) + chunk(b"first"))

    loop = asyncio.get_running_loop()
    async with await loop.create_server(Echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        site = await open_site(provider={"endpoint": f"http://127.0.0.1:{port}"})
        caller = await site.caller()
        caller.send(ask("POST", f"{BOX}/odd", "content-length: 6"))
        await caller.until(b"first")
        caller.send(b"second")
        assert (await caller.reply()).body == b"firstsecond"


async def test_a_broken_reply_ends_without_its_last_chunk(site: Site) -> None:
    fields = ("content-type: x/y", "transfer-encoding: chunked")
    site.upstream.script = then_close(head(200, *fields) + chunk(b"half"))
    caller = await site.caller()
    caller.send(ask("GET", f"{BOX}/odd"))
    reply = await caller.last()
    assert reply.body == b"half"
    assert not reply.complete
    assert (await site.record()).code == "upstream_error"


async def test_known_streams_end_in_band_here_too(site: Site) -> None:
    site.upstream.script = then_close(stream(EVENT, end=b""))
    reply = await site.ask(post(f"{BOX}{CHAT}", STREAM))
    assert reply.complete
    assert reply.body.startswith(EVENT)
    assert b"upstream_stream_broken" in reply.body
    assert reply.body.endswith(DONE)


async def test_an_ollama_stream_ends_in_its_own_way(open_site: OpenSite) -> None:
    line = b'{"model":"m","message":{"role":"assistant","content":"x"},"done":false}\n'
    fields = ("content-type: application/x-ndjson", "transfer-encoding: chunked")
    cut = head(200, *fields) + chunk(line) + chunk(line[:9])
    site = await open_site(then_close(cut), provider={"kind": "ollama"})
    reply = await site.ask(post("/ollama/api/chat", b'{"model":"m"}'))
    assert reply.complete
    first, last = reply.body.splitlines(keepends=True)
    assert first == line
    assert "ended" in json.loads(last)["error"] or "closed" in json.loads(last)["error"]
    assert (await site.record()).code == "upstream_stream_broken"


async def test_our_own_errors_are_in_the_paths_dialect(open_site: OpenSite) -> None:
    site = await open_site(then_close(b"nonsense\r\n\r\n"), provider={"kind": "ollama"})
    reply = await site.ask(post("/ollama/api/chat", b"{}"))
    assert reply.status == 502
    assert isinstance(json.loads(reply.body)["error"], str)
    reply = await site.ask(post("/ollama/v1/chat/completions", b"{}"))
    assert error_of(reply)["code"] == "upstream_error"
    reply = await site.ask(post("/ollama/v1/messages", b"{}"))
    assert json.loads(reply.body)["type"] == "error"


def test_each_path_has_its_dialect() -> None:
    assert dialect_of("/api/generate") is Dialect.OLLAMA
    assert dialect_of("/api/show") is Dialect.OLLAMA
    assert dialect_of("/v1/messages") is Dialect.MESSAGES
    assert dialect_of("/v1/responses") is Dialect.RESPONSES
    assert dialect_of("/v1/anything") is Dialect.CHAT
    assert dialect_of("/") is Dialect.CHAT


# -- which provider ------------------------------------------------------------------------


async def test_an_id_goes_before_a_kind(open_site: OpenSite) -> None:
    first = {"id": "a-first", "kind": "ollama", "endpoint": "http://127.0.0.1:9"}
    site = await open_site(
        provider={"id": "ollama", "kind": "ollama", "priority": 50}, others=[first],
        models=[],
    )  # fmt: skip
    assert (await site.ask(ask("GET", "/ollama/api/tags"))).status == 200


async def test_the_first_enabled_of_a_kind_is_taken(open_site: OpenSite) -> None:
    off = {"id": "a-first", "kind": "lmstudio", "endpoint": "http://127.0.0.1:9",
           "enabled": False, "priority": 1}  # fmt: skip
    site = await open_site(provider={"kind": "lmstudio"}, others=[off])
    assert (await site.ask(ask("GET", "/lmstudio/api/v0/models"))).status == 200


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/providers/none/v1/models", 404, "provider_not_found"),
        ("/ollama/v1/models", 501, "not_configured"),
        ("/providers/off/v1/models", 503, "all_providers_unavailable"),
    ],
)
async def test_nobody_to_ask(
    open_site: OpenSite, target: str, status: int, code: str
) -> None:
    off = {"id": "off", "kind": "vllm", "endpoint": "http://127.0.0.1:9",
           "enabled": False}  # fmt: skip
    site = await open_site(others=[off])
    reply = await site.ask(ask("GET", target))
    assert (reply.status, error_of(reply)["code"]) == (status, code)
    assert not site.upstream.requests


# -- who may ------------------------------------------------------------------------------


OWNERS = ("/sleep", "/brand-new", "/%73leep", "//sleep", "/v1//chat/completions", "/")


@pytest.mark.parametrize("path", OWNERS)
async def test_owners_paths_are_the_owners(site: Site, path: str) -> None:
    reply = await site.ask(ask("POST", f"{BOX}{path}", body=b"{}"))
    assert reply.status == 200
    assert site.upstream.requests[0].target == path
    for field in ("via: 1.1 nginx", "forwarded: for=1.2.3.4", "x-forwarded-for: 1.2.3.4",
                  "x-forwarded-proto: https", "host: gateway.lan", "host: 192.168.1.2",
                  "x-real-ip: 1.2.3.4"):  # fmt: skip
        reply = await site.ask(ask("POST", f"{BOX}{path}", field, body=b"{}"))
        assert reply.status == 403, field
        assert error_of(reply)["code"] == "forbidden"
    assert len(site.upstream.requests) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", CHAT), ("GET", "/version"), ("POST", "/tokenize"), ("HEAD", "/health")],
)
async def test_other_paths_are_everybodys(site: Site, method: str, path: str) -> None:
    fields = ("host: gateway.lan", "x-forwarded-for: 1.2.3.4", "via: 1.1 nginx")
    caller = await site.caller()
    caller.send(ask(method, f"{BOX}{path}", *fields, body=b"{}"))
    assert (await caller.reply(to_head=method == "HEAD")).status == 200


@pytest.mark.parametrize(
    "path", ["/api/delete", "/api/%64elete", "/api/pull", "/api//delete"]
)
async def test_another_spelling_opens_nothing(open_site: OpenSite, path: str) -> None:
    site = await open_site(provider={"kind": "ollama"})
    for field in ("x-forwarded-for: 1.2.3.4", "host: gateway.lan"):
        reply = await site.ask(ask("DELETE", f"/ollama{path}", field, body=b"{}"))
        assert reply.status == 403
    assert not site.upstream.requests


# -- sizes --------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [True, False])
async def test_inference_paths_have_a_body_limit_and_others_none(
    open_site: OpenSite, chunked: bool
) -> None:
    site = await open_site(server={"maxBodyBytes": 1000})
    body = bytes(5000)
    for path, status in ((CHAT, 413), ("/tokenize", 200), ("/brand-new", 200)):
        request = ask("POST", f"{BOX}{path}", body=body)
        if chunked:
            head_ = ask("POST", f"{BOX}{path}", "transfer-encoding: chunked")
            request = head_ + chunk(body[:900]) + chunk(body[900:]) + LAST_CHUNK
        reply = await site.ask(request)
        assert reply.status == status, path
        if status == 413:
            assert error_of(reply)["code"] == "body_too_large"
    assert [len(sent.body) for sent in site.upstream.requests] == [5000, 5000]


async def test_a_body_that_is_here_leaves_with_its_head() -> None:
    out = Outgoing("POST", "/x", (), WholeBody(b"whole").chunks(), 5)
    await gather_body(out, WholeBody(b"whole"))
    assert out.body == b"whole"


async def test_a_body_of_unknown_length_keeps_its_framing() -> None:
    body = WholeBody(b"whole")
    out = Outgoing("POST", "/x", (), body.chunks(), None)
    await gather_body(out, body)
    assert not isinstance(out.body, bytes)
