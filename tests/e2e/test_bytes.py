"""Bytes pass as they came: a tap on each side of the gateway tells."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.conftest import local_provider, only
from tests.parts.gateway import Gateway, serving
from tests.parts.http_text import Message, data_of, events, post
from tests.parts.raw import exchange
from tests.parts.tap import Tap

CHAT = "/v1/chat/completions"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(llama: str) -> AsyncIterator[Tap]:
    async with Tap(llama) as tap:
        yield tap


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tapped(
    line: Tap, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A gateway whose way to the real model server leads through the tap."""
    provider = local_provider("llama", "llamacpp", line.url)
    config = only(provider, models=[{"id": "tiny", "providerId": "llama"}])
    async with serving(tmp_path_factory.mktemp("tapped"), config) as running:
        yield running


@pytest.fixture
def tap(line: Tap) -> Tap:
    """The tap, with nothing on its tape."""
    line.forget()
    return line


async def test_a_streams_bytes_are_the_upstreams_less_our_usage_event(
    tapped: Gateway, tap: Tap
) -> None:
    reply = await exchange(tapped.url, post(CHAT, _body(stream=True)))
    sent, answered = _only_exchange(tap, CHAT)
    assert json.loads(sent.body)["stream_options"] == {"include_usage": True}
    upstream_events = events(answered.body)
    ours = [event for event in upstream_events if _is_usage(event)]
    assert len(ours) == 1
    kept = [event for event in upstream_events if event not in ours]
    assert reply.body == b"".join(kept)
    assert reply.complete


async def test_a_stream_whose_caller_asked_for_usage_is_untouched(
    tapped: Gateway, tap: Tap
) -> None:
    body = _body(stream=True, stream_options={"include_usage": True})
    reply = await exchange(tapped.url, post(CHAT, body))
    sent, answered = _only_exchange(tap, CHAT)
    assert sent.body == body
    assert reply.body == answered.body


async def test_the_callers_own_stream_options_are_merged(
    tapped: Gateway, tap: Tap
) -> None:
    body = _body(stream=True, stream_options={"odd": [1]})
    await exchange(tapped.url, post(CHAT, body))
    sent, _ = _only_exchange(tap, CHAT)
    assert json.loads(sent.body)["stream_options"] == {
        "odd": [1],
        "include_usage": True,
    }


async def test_a_whole_replys_body_is_identical(tapped: Gateway, tap: Tap) -> None:
    reply = await exchange(tapped.url, post(CHAT, _body()))
    _, answered = _only_exchange(tap, CHAT)
    assert reply.status == 200
    assert reply.body == answered.body


async def test_a_request_goes_as_it_came(tapped: Gateway, tap: Tap) -> None:
    body = (
        b'{ "model" :"tiny",\t"messages":[ {"role":"user","content":"\\u0041 \xc3\xa9"}'
        b' ],\r\n"max_tokens": 2 ,"brand_new":{"b":1.50e+2,"a":[ null ]} }  '
    )
    reply = await exchange(tapped.url, post(CHAT, body))
    assert reply.status == 200
    sent, _ = _only_exchange(tap, CHAT)
    assert sent.body == body


async def test_values_keep_their_bytes_where_a_field_is_added(
    tapped: Gateway, tap: Tap
) -> None:
    odd = b'{ "b" : 1.50e+2,\t"a":[ null, "\\u00e9\\/" ] }'
    body = (
        b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"max_tokens":2,'
        b'"stream":true,"brand_new":' + odd + b"}"
    )
    await exchange(tapped.url, post(CHAT, body))
    sent, _ = _only_exchange(tap, CHAT)
    assert sent.body != body
    assert odd in sent.body


async def test_an_unknown_route_goes_byte_for_byte(tapped: Gateway, tap: Tap) -> None:
    body = b' \n{ "odd" :\t[1 ,2.0, 1e5 ]\r\n, "odd": "twice" }\n\n'
    target = "/v1/brand-new?x=%20y&z=1+2"
    reply = await exchange(tapped.url, post(target, body, "accept: application/json"))
    sent, answered = _only_exchange(tap, "/v1/brand-new")
    assert sent.target == target
    assert sent.body == body
    assert sent.header("content-type") == "application/json"
    assert (reply.status, reply.body) == (answered.status, answered.body)


async def test_no_credential_of_the_caller_travels_on(
    tapped: Gateway, tap: Tap
) -> None:
    credentials = (
        "authorization: Bearer secret-one", "x-api-key: secret-one",
        "cookie: session=secret-one",
    )  # fmt: skip
    await exchange(tapped.url, post(CHAT, _body(), *credentials))
    sent, _ = _only_exchange(tap, CHAT)
    assert b"secret-one" not in sent.raw


async def test_headers_tell_who_served_it(tapped: Gateway, tap: Tap) -> None:
    reply = await exchange(tapped.url, post(CHAT, _body(), "x-request-id: mine"))
    assert reply.header("x-request-id") == "mine"
    assert reply.header("x-proxy-provider") == "llama"
    assert reply.header("x-proxy-model") == "tiny"
    assert reply.header("x-proxy-attempts") == "1"
    assert float(reply.header("x-proxy-overhead-ms") or "nan") >= 0
    assert reply.header("server") != "llama.cpp"
    assert reply.header("access-control-allow-origin") is None
    sent, _ = _only_exchange(tap, CHAT)
    assert sent.header("accept-encoding") == "identity"
    assert (sent.header("via") or "").startswith("1.1 local-ai-")


async def test_a_streams_headers_forbid_buffering(tapped: Gateway) -> None:
    reply = await exchange(tapped.url, post(CHAT, _body(stream=True)))
    assert (reply.header("content-type") or "").startswith("text/event-stream")
    assert reply.header("cache-control") == "no-cache, no-transform"
    assert reply.header("x-accel-buffering") == "no"


async def test_pass_through_gives_the_reply_as_it_is(tapped: Gateway, tap: Tap) -> None:
    request = b"GET /providers/llama/props?x=1 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    reply = await exchange(tapped.url, request)
    sent, answered = _only_exchange(tap, "/props?x=1")
    assert sent.target == "/props?x=1"
    assert reply.status == answered.status == 200
    assert reply.body == answered.body
    assert reply.header("content-type") == answered.header("content-type")


def _body(**extra: object) -> bytes:
    content = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Say something."}],
        "max_tokens": 6,
        **extra,
    }
    return json.dumps(content).encode()


def _only_exchange(tap: Tap, path: str) -> tuple[Message, Message]:
    [found] = tap.exchanges(path)
    return found


def _is_usage(event: bytes) -> bool:
    data = data_of(event)
    return isinstance(data, dict) and not data.get("choices") and "usage" in data
