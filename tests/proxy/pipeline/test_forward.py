"""Redirects, other /v1 paths and stored responses: where they lead."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from proxy.pipeline.heads import relocated
from proxy.routing.breaker import THRESHOLD
from proxy.routing.registry import Status
from proxy.state.base import Where
from tests.parts.faulty import Faulty, Peer
from tests.parts.http_text import LAST_CHUNK, Message, chunk, head, post, whole
from tests.parts.inside import COMPLETION, RESPONSES, OpenSite, Site
from tests.parts.scripts import (
    BODY,
    STREAM,
    answers,
    ask,
    error_of,
    stream,
    then_close,
)

BOX = "/providers/box"


# -- redirects ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/v1/models?x=1#y", f"{BOX}/v1/models?x=1#y"),
        ("{upstream}/v1/models", f"{BOX}/v1/models"),
        ("{upstream}", f"{BOX}/"),
        ("next", "next"),
        ("?page=2", "?page=2"),
        ("http://other.example/x", "http://other.example/x"),
        ("//other.example/x", "//other.example/x"),
        ("http://[broken", "http://[broken"),
    ],
)
@pytest.mark.parametrize("status", [201, 302, 307])
async def test_a_place_at_the_provider_is_shown_as_ours(
    site: Site, location: str, shown: str, status: int
) -> None:
    there = location.format(upstream=site.upstream.url)
    site.upstream.script = answers(
        head(status, f"location: {there}", "content-length: 0")
    )
    reply = await site.ask(ask("GET", f"{BOX}/version"))
    assert reply.status == status
    assert [v for n, v in reply.headers if n == "location"] == [shown]
    assert len(site.upstream.requests) == 1


async def test_the_prefix_is_the_one_that_was_used(open_site: OpenSite) -> None:
    site = await open_site(
        answers(head(302, "location: /api/x", "content-length: 0")),
        provider={"kind": "ollama"},
    )
    for prefix in ("/ollama", "/providers/box", "/%6fllama"):
        reply = await site.ask(ask("GET", f"{prefix}/api/version?x=1"))
        assert reply.header("location") == f"{prefix}/api/x"


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/api/paas/v4/models", "/p/models"),
        ("https://z.example/api/paas/v4/models", "/p/models"),
        ("https://z.example:443/api/paas/v4/models", "/p/models"),
        ("/login", "/login"),
        ("/api/paas/v44/x", "/api/paas/v44/x"),
        ("http://z.example/api/paas/v4/x", "http://z.example/api/paas/v4/x"),
    ],
)
def test_a_base_urls_path_is_part_of_the_place(location: str, shown: str) -> None:
    assert relocated(location, "https://z.example/api/paas/v4", "/p") == shown


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_on_v1_is_an_upstream_error(site: Site, status: int) -> None:
    site.upstream.script = answers(
        head(status, "location: http://other.example/", "content-length: 0")
    )
    reply = await site.ask(ask("GET", "/v1/files"))
    assert reply.status == 502
    assert error_of(reply)["code"] == "upstream_error"
    assert "redirect" in error_of(reply)["message"]
    assert reply.header("location") is None


async def test_not_modified_is_no_redirect(site: Site) -> None:
    site.upstream.script = answers(head(304, 'etag: "1"'))
    reply = await site.ask(ask("GET", "/v1/files", 'if-none-match: "1"'))
    assert reply.status == 304
    assert site.upstream.requests[0].header("if-none-match") == '"1"'


# -- other /v1 paths -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["/v1/files?x=1", "/v1/", "/v1/fine_tuning/jobs/a%20b", "/v1/images/x"]
)
async def test_unknown_v1_paths_go_to_the_first_local_provider(
    site: Site, target: str
) -> None:
    reply = await site.ask(ask("POST", target, body=b" {odd} "))
    assert reply.status == 200
    assert reply.header("x-proxy-provider") == "box"
    [sent] = site.upstream.requests
    assert (sent.target, sent.body) == (target, b" {odd} ")
    assert (await site.record()).operation == "forward"


async def test_or_to_the_one_that_is_named(open_site: OpenSite) -> None:
    first = {"id": "a-first", "kind": "vllm", "endpoint": "http://127.0.0.1:9",
             "priority": 1}  # fmt: skip
    site = await open_site(others=[first], routing={"defaultProvider": "box"})
    assert (await site.ask(ask("GET", "/v1/files"))).status == 200


async def test_without_a_local_one_it_says_what_to_configure(
    open_site: OpenSite,
) -> None:
    site = await open_site(provider={"kind": "openai", "type": "cloud"})
    reply = await site.ask(ask("GET", "/v1/files"))
    assert reply.status == 501
    assert error_of(reply)["code"] == "not_configured"
    assert "routing.defaultProvider" in error_of(reply)["message"]


async def test_an_anthropic_client_is_told_in_its_own_words(site: Site) -> None:
    site.upstream.script = then_close(b"nonsense\r\n\r\n")
    reply = await site.ask(ask("GET", "/v1/messages/batches", "anthropic-version: x"))
    assert json.loads(reply.body)["error"]["type"] == "api_error"
    assert reply.header("request-id")


@pytest.mark.parametrize(
    "path",
    ["/v1/tools/x", "/v1/memory", "/v1/system-prompts/a", "/v1/tenant/config",
     "/v1/images/upload", "/v1/images/store/x/y"],
)  # fmt: skip
async def test_reserved_paths_are_forwarded_to_nobody(site: Site, path: str) -> None:
    reply = await site.ask(post(path, b"{}"))
    assert (reply.status, error_of(reply)["code"]) == (404, "not_found")
    assert not site.upstream.requests


# -- stored responses ------------------------------------------------------------------------


MADE = b'{"id":"resp_1","object":"response","status":"completed","output":[]}'
CREATED = (
    b'event: response.created\ndata: {"type":"response.created","sequence_number":0,'
    b'"response":{"id":"resp_1","object":"response"}}\n\n'
)
COMPLETED = (
    b'event: response.completed\ndata: {"type":"response.completed",'
    b'"sequence_number":1,"response":{"id":"resp_1","object":"response"}}\n\n'
)
OBJECT_CALLS = (
    ("GET", "/v1/responses/resp_1?include=x"), ("POST", "/v1/responses/resp_1/cancel"),
    ("GET", "/v1/responses/resp_1/input_items?limit=1"), ("DELETE", "/v1/responses/resp_1"),
)  # fmt: skip


async def test_nobodys_response_is_not_found(site: Site) -> None:
    for method, target in OBJECT_CALLS:
        reply = await site.ask(ask(method, target))
        assert (reply.status, error_of(reply)["code"]) == (404, "not_found")
    body = b'{"model":"tiny","previous_response_id":"resp_1"}'
    reply = await site.ask(post(RESPONSES, body))
    assert reply.status == 404
    assert error_of(reply)["param"] == "previous_response_id"
    assert not site.upstream.requests


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_response_belongs_to_its_maker(site: Site, streamed: bool) -> None:
    made = stream(CREATED, COMPLETED) if streamed else whole(MADE)
    site.upstream.script = answers(made)
    await site.ask(post(RESPONSES, STREAM if streamed else BODY))
    site.upstream.script = answers(whole(MADE))
    for method, target in OBJECT_CALLS[:3]:
        reply = await site.ask(ask(method, target))
        assert (reply.status, reply.body) == (200, MADE)
        assert site.upstream.requests[-1].start == f"{method} {target} HTTP/1.1"
        assert reply.header("x-proxy-provider") == "box"
    body = b'{"model":"tiny","previous_response_id":"resp_1"}'
    assert (await site.ask(post(RESPONSES, body))).status == 200


async def test_a_deleted_response_is_forgotten(site: Site) -> None:
    site.upstream.script = answers(
        whole(MADE), whole(b"{}", status=500), whole(b'{"deleted":true}')
    )
    await site.ask(post(RESPONSES, BODY))
    for status in (500, 200, 404):
        assert (await site.ask(ask(*OBJECT_CALLS[3]))).status == status
    assert len(site.upstream.requests) == 3


async def test_a_response_can_be_cancelled_while_it_is_streamed(site: Site) -> None:
    cancelled = asyncio.Event()

    async def play(peer: Peer, request: Message) -> None:
        if request.target.endswith("/cancel"):
            cancelled.set()
            await peer.send(whole(MADE))
            return
        await peer.send(stream(CREATED, end=b""))
        await peer.wait(cancelled)
        await peer.send(chunk(COMPLETED) + LAST_CHUNK)

    site.upstream.script = play
    caller = await site.caller()
    caller.send(post(RESPONSES, STREAM))
    await caller.until(CREATED)
    assert (await site.ask(ask(*OBJECT_CALLS[1]))).status == 200
    assert (await caller.reply()).body == CREATED + COMPLETED


async def test_a_response_follows_its_provider_not_its_model(
    open_site: OpenSite,
) -> None:
    """The model is served by two; only one of them knows the response."""
    async with Faulty(answers(whole(COMPLETION))) as other:
        second = {"id": "other", "kind": "vllm", "endpoint": other.url}
        both: list[Any] = [{"id": "box"}, {"id": "other"}]
        site = await open_site(
            answers(whole(MADE)), others=[second],
            models=[{"id": "tiny", "providers": both}, {"id": "else", "providerId": "other"}],
        )  # fmt: skip
        await site.ask(post(RESPONSES, BODY))
        body = b'{"model":"else","previous_response_id":"resp_1"}'
        reply = await site.ask(post(RESPONSES, body))
        assert (reply.status, error_of(reply)["code"]) == (404, "not_found")
        body = b'{"model":"tiny","previous_response_id":"resp_1"}'
        reply = await site.ask(post(RESPONSES, body))
        assert reply.header("x-proxy-provider") == "box"
        assert not other.requests


@pytest.mark.parametrize("is_broken", [True, False])
async def test_nobody_else_goes_on_with_a_response(
    open_site: OpenSite, is_broken: bool
) -> None:
    """Its maker is out of order for a moment: that is no reason to say it is unknown."""
    async with Faulty(answers(whole(COMPLETION))) as other:
        second = {"id": "other", "kind": "vllm", "endpoint": other.url}
        both: list[Any] = [{"id": "box"}, {"id": "other"}]
        site = await open_site(
            answers(whole(MADE)), others=[second],
            models=[{"id": "tiny", "providers": both, "fallbacks": ["else"]},
                    {"id": "else", "providerId": "other"}],
        )  # fmt: skip
        await site.ask(post(RESPONSES, BODY))
        [box] = [p for p in site.runtime.registry.providers if p.id == "box"]
        if is_broken:
            for _ in range(THRESHOLD):
                site.runtime.dispatch.breaker.failed(Where("box"))
        else:
            site.runtime.registry.hold(box, Status.DRAINING)
        body = b'{"model":"tiny","previous_response_id":"resp_1"}'
        reply = await site.ask(post(RESPONSES, body))
        assert (reply.status, error_of(reply)["code"]) == (
            503, "all_providers_unavailable",
        )  # fmt: skip
        assert not other.requests
