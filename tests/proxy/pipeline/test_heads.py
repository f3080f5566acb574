"""What goes to the upstream with a request, and back to the caller with a reply."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.parts.faulty import Peer
from tests.parts.http_text import (
    LAST_CHUNK,
    Message,
    chunk,
    event_stream_head,
    head,
    post,
    whole,
)
from tests.parts.inside import CHAT, COMPLETION, MESSAGES, OpenSite, Site
from tests.parts.scripts import answers

BODY = b'{"model":"tiny","messages":[]}'
STREAM = b'{"model":"tiny","messages":[],"stream":true}'
EVENTS = b'data: {"choices":[{"index":0}]}\n\ndata: [DONE]\n\n'
PASSING = (CHAT, "/v1/brand-new", "/providers/box/v1/chat/completions")
CREDENTIALS = (
    "authorization: Bearer secret-1", "x-api-key: secret-2", "api-key: secret-3",
    "x-goog-api-key: secret-4", "cookie: s=secret-5", "proxy-authorization: secret-6",
)  # fmt: skip


def values(message: Message, name: str) -> list[str]:
    return [value for key, value in message.headers if key == name]


# -- to the upstream --------------------------------------------------------------


@pytest.mark.parametrize("path", PASSING)
async def test_no_credential_of_the_caller_travels(site: Site, path: str) -> None:
    await site.ask(post(path, BODY, *CREDENTIALS))
    assert b"secret" not in site.upstream.requests[0].raw


@pytest.mark.parametrize("path", PASSING)
async def test_the_providers_own_key_does(open_site: OpenSite, path: str) -> None:
    site = await open_site(provider={"authSecret": "provider-key"})
    reply = await site.ask(post(path, BODY, *CREDENTIALS))
    [sent] = site.upstream.requests
    assert values(sent, "authorization") == ["Bearer provider-key"]
    assert b"secret" not in sent.raw
    assert b"provider-key" not in reply.raw


@pytest.mark.parametrize("path", PASSING)
async def test_forwarded_logins_are_the_callers(open_site: OpenSite, path: str) -> None:
    site = await open_site(provider={"forwardAuth": True})
    await site.ask(post(path, BODY, *CREDENTIALS))
    [sent] = site.upstream.requests
    assert values(sent, "authorization") == ["Bearer secret-1"]
    assert values(sent, "x-api-key") == ["secret-2"]
    assert b"secret-5" not in sent.raw
    assert b"secret-6" not in sent.raw


async def test_model_routes_pass_on_what_is_on_the_list(site: Site) -> None:
    allowed = (
        "accept: application/json", "user-agent: my-tool/1", "openai-beta: a=1",
        "anthropic-beta: b", "anthropic-version: 2023-06-01", "openai-version: 9",
        "x-stainless-lang: python", "idempotency-key: once",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate: k=v",
    )  # fmt: skip
    refused = (
        "x-custom: refused", "x-forwarded-for: refused", "referer: refused",
        "origin: http://localhost", "x-request-id: refused", "te: trailers",
        "accept-language: refused", "forwarded: for=refused",
    )  # fmt: skip
    await site.ask(post(CHAT, BODY, *allowed, *refused))
    [sent] = site.upstream.requests
    for field in allowed:
        name, _, value = field.partition(": ")
        assert values(sent, name) == [value]
    assert b"refused" not in sent.raw
    for name in ("origin", "te"):
        assert values(sent, name) == []


async def test_the_operator_may_lengthen_the_list(open_site: OpenSite) -> None:
    site = await open_site(
        provider={"forwardHeaders": ["X-Custom"], "headers": {"x-team": "blue"}}
    )
    await site.ask(post(CHAT, BODY, "x-custom: 1", "x-other: 2", "x-team: red"))
    [sent] = site.upstream.requests
    assert values(sent, "x-custom") == ["1"]
    assert values(sent, "x-other") == []
    assert values(sent, "x-team") == ["blue"]


async def test_replies_are_asked_for_uncompressed(site: Site) -> None:
    await site.ask(post(CHAT, BODY, "accept-encoding: gzip, br"))
    assert values(site.upstream.requests[0], "accept-encoding") == ["identity"]


@pytest.mark.parametrize("path", PASSING)
async def test_the_host_is_the_upstreams(site: Site, path: str) -> None:
    await site.ask(post(path, BODY))
    assert values(site.upstream.requests[0], "host") == [site.upstream.url[7:]]


@pytest.mark.parametrize("path", PASSING)
async def test_our_name_follows_those_of_earlier_proxies(site: Site, path: str) -> None:
    await site.ask(post(path, BODY, "via: 1.0 first", "via: 1.1 second, 2 third"))
    [via] = values(site.upstream.requests[0], "via")
    assert via.startswith("1.0 first, 1.1 second, 2 third, 1.1 local-ai-")


@pytest.mark.parametrize("path", [*PASSING, MESSAGES])
async def test_a_request_that_comes_back_is_refused(site: Site, path: str) -> None:
    await site.ask(post(CHAT, BODY))
    [via] = values(site.upstream.requests[0], "via")
    reply = await site.ask(post(path, BODY, "via: 1.1 nginx", f"via: 1.0 x, {via}"))
    assert reply.status == 400
    assert json.loads(reply.body)["error"]["code"] == "request_loop"
    assert len(site.upstream.requests) == 1


async def test_another_gateways_name_is_no_loop(site: Site) -> None:
    reply = await site.ask(post(CHAT, BODY, "via: 1.1 local-ai-00000000"))
    assert reply.status == 200


# -- back to the caller ------------------------------------------------------------


async def test_a_whole_reply_tells_who_served_it(open_site: OpenSite) -> None:
    models = [{"id": "tiny", "providerId": "box", "upstreamModel": "org/Tiny-1B"}]
    site = await open_site(models=models, fast=True)
    reply = await site.ask(post(CHAT, BODY))
    assert reply.header("x-proxy-provider") == "box"
    assert reply.header("x-proxy-model") == "org/Tiny-1B"
    assert reply.header("x-proxy-attempts") == "1"
    assert 0 <= float(reply.header("x-proxy-overhead-ms") or "nan") < 5000
    for absent in ("x-proxy-applied", "x-proxy-cache", "x-proxy-queue-ms"):
        assert reply.header(absent) is None


async def test_waiting_for_the_upstream_is_no_overhead(site: Site) -> None:
    async def late(peer: Peer, request: Message) -> None:
        await asyncio.sleep(0.1)
        await peer.send(whole(COMPLETION))

    site.upstream.script = late
    reply = await site.ask(post(CHAT, BODY))
    record = await site.record()
    assert record.ended_at is not None
    assert record.upstream_wait_s > 0.09
    overhead_s = float(reply.header("x-proxy-overhead-ms") or "nan") / 1000
    total_s = record.ended_at - record.started_at
    assert overhead_s + record.upstream_wait_s < total_s + 0.001


async def test_a_stream_tells_it_too_and_is_never_buffered(site: Site) -> None:
    site.upstream.script = answers(
        event_stream_head().replace(b"\r\n\r\n", b"\r\ncache-control: public\r\n\r\n")
        + chunk(EVENTS) + LAST_CHUNK
    )  # fmt: skip
    reply = await site.ask(post(CHAT, STREAM))
    assert reply.body == EVENTS
    assert reply.header("content-type") == "text/event-stream"
    assert values(reply, "cache-control") == ["no-cache, no-transform"]
    assert reply.header("x-accel-buffering") == "no"
    assert reply.header("content-encoding") is None
    assert reply.header("x-proxy-provider") == "box"
    assert reply.header("x-proxy-model") == "tiny"
    assert reply.header("x-proxy-attempts") == "1"
    assert reply.header("x-proxy-overhead-ms")


@pytest.mark.parametrize("status", [400, 500, 302])
async def test_errors_tell_it_too(site: Site, status: int) -> None:
    body = b'{"error":{"message":"no","type":"t","code":"c"}}'
    site.upstream.script = answers(whole(body, status=status))
    reply = await site.ask(post(CHAT, BODY))
    assert reply.status == (400 if status == 400 else 502)
    assert reply.header("x-proxy-provider") == "box"
    assert reply.header("x-proxy-model") == "tiny"
    assert reply.header("x-proxy-attempts") == "1"
    assert 0 <= float(reply.header("x-proxy-overhead-ms") or "nan") < 5000


async def test_what_was_never_asked_of_anybody_names_nobody(site: Site) -> None:
    reply = await site.ask(post(CHAT, b'{"model":"none"}'))
    assert reply.status == 404
    assert not [name for name, _ in reply.headers if name.startswith("x-proxy-")]


async def test_changes_are_reported(open_site: OpenSite) -> None:
    params = {
        "set": {"top_k": 1},
        "defaults": {"seed": 7, "n": 1},
        "strip": ["user", "x"],
    }
    models = [{"id": "tiny", "providerId": "box", "params": params}]
    site = await open_site(models=models)
    body = b'{"model":"tiny","messages":[],"n":2,"user":"u"}'
    reply = await site.ask(post(CHAT, body))
    applied = (reply.header("x-proxy-applied") or "").split(", ")
    assert sorted(applied) == ["dropped=user", "set=seed", "set=top_k"]
    sent = json.loads(site.upstream.requests[0].body)
    assert sent == {"model": "tiny", "messages": [], "n": 2, "seed": 7, "top_k": 1}


async def test_a_known_price_is_told(open_site: OpenSite) -> None:
    pricing = {"inputPer1M": 1.0, "outputPer1M": 2.0}
    models = [{"id": "tiny", "providerId": "box", "pricing": pricing}]
    body = (b'{"object":"chat.completion","choices":[{}],'
            b'"usage":{"prompt_tokens":1000,"completion_tokens":500}}')  # fmt: skip
    site = await open_site(answers(whole(body)), models=models)
    reply = await site.ask(post(CHAT, BODY))
    assert reply.header("x-proxy-cost-usd") == "0.002000"
    record = await site.record()
    assert record.cost_usd == 0.002
    assert (record.prompt_tokens, record.completion_tokens) == (1000, 500)
    assert record.usage_source == "upstream"


@pytest.mark.parametrize(
    ("status", "headers", "code"),
    [
        (500, (), 502), (502, (), 502), (529, (), 502), (401, (), 502),
        (503, (), 502), (429, ("retry-after: 7",), 429),
    ],
)  # fmt: skip
async def test_an_sdk_need_not_try_again(
    site: Site, status: int, headers: tuple[str, ...], code: int
) -> None:
    fields = ("content-length: 2", "x-should-retry: true", *headers)
    site.upstream.script = answers(head(status, *fields) + b"{}")
    reply = await site.ask(post(CHAT, BODY))
    assert reply.status == code
    assert values(reply, "x-should-retry") == ["false"]
    assert reply.header("retry-after") == ("7" if headers else None)


async def test_it_may_where_only_the_request_was_wrong(site: Site) -> None:
    site.upstream.script = answers(whole(b'{"error":{"message":"no"}}', status=400))
    for body in (BODY, b"{", b'{"model":"none"}'):
        reply = await site.ask(post(CHAT, body))
        assert reply.status < 500
        assert reply.header("x-should-retry") is None


PRIVATE = (
    "set-cookie: a=1", "alt-svc: h3", "strict-transport-security: max-age=1",
    "access-control-allow-origin: *", "connection: x-hop", "x-hop: 1",
    "keep-alive: timeout=5", "proxy-authenticate: x", "via: 1.1 theirs",
)  # fmt: skip
ITS_OWN = (
    "server: uvicorn", "openai-organization: acme", "x-ratelimit-limit-requests: 9",
    "anthropic-ratelimit-tokens-limit: 9", "anthropic-organization-id: o",
    "x-proxy-provider: other", "x-proxy-odd: 1",
)  # fmt: skip


async def replied_with(site: Site, path: str, *fields: str) -> Message:
    site.upstream.script = answers(
        head(200, "content-type: application/json", "content-length: 2", *fields)
        + b"{}"
    )
    return await site.ask(post(path, BODY))


async def test_the_upstreams_private_fields_stay_there(site: Site) -> None:
    kept = ("x-odd: 1", "openai-processing-ms: 12", "openai-version: 2020-10-01")
    reply = await replied_with(site, CHAT, *PRIVATE, *ITS_OWN, *kept)
    names = [name for name, _ in reply.headers]
    for field in (*PRIVATE, *ITS_OWN):
        name = field.partition(":")[0]
        assert name not in names or name == "x-proxy-provider"
    assert values(reply, "x-proxy-provider") == ["box"]
    for field in kept:
        assert values(reply, field.partition(": ")[0]) == [field.partition(": ")[2]]


@pytest.mark.parametrize("path", PASSING[1:])
async def test_pass_through_keeps_the_most(site: Site, path: str) -> None:
    reply = await replied_with(site, path, *PRIVATE, *ITS_OWN[:5])
    names = [name for name, _ in reply.headers]
    for field in PRIVATE:
        assert field.partition(":")[0] not in names
    for field in ITS_OWN[:5]:
        assert values(reply, field.partition(": ")[0]) == [field.partition(": ")[2]]


async def test_a_model_name_is_safe_in_a_header(open_site: OpenSite) -> None:
    models: list[Any] = [
        {"id": "tiny", "providerId": "box", "upstreamModel": "grün\r\nx-evil: 1"}
    ]
    site = await open_site(models=models)
    reply = await site.ask(post(CHAT, BODY))
    assert reply.status == 200
    assert reply.header("x-evil") is None
    assert json.loads(site.upstream.requests[0].body)["model"] == "grün\r\nx-evil: 1"
