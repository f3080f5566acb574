"""Upstreams that fail in some way: what the official openai SDK is told."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.e2e.conftest import local_provider, only
from tests.parts.faulty import Faulty, Peer, Script
from tests.parts.gateway import Gateway, serving
from tests.parts.http_text import (
    LAST_CHUNK,
    Message,
    chunk,
    event_stream_head,
    head,
    post,
    whole,
)
from tests.parts.raw import connect, exchange

ASK: Any = [{"role": "user", "content": "Hi"}]
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
CHAT = "/v1/chat/completions"
REPLY = b'{"object":"chat.completion","choices":[]}'
REFUSED = b'{"error":{"message":"no such thing","type":"invalid_request_error"}}'
SHORT = {"connect": 1, "write": 1, "firstByte": 1, "idle": 1, "whole": 2}
PROVIDERS = 20
PATIENT = "patient"

pytestmark = pytest.mark.asyncio(loop_scope="module")


def says(data: bytes) -> Script:
    """A script that answers with these bytes and closes."""

    async def script(peer: Peer, request: Message) -> None:
        await peer.send(data)
        peer.close()

    return script


async def resets(peer: Peer, request: Message) -> None:
    peer.reset()


async def hangs(peer: Peer, request: Message) -> None:
    await peer.wait(asyncio.Event())


async def hangs_after_an_event(peer: Peer, request: Message) -> None:
    await peer.send(event_stream_head() + chunk(EVENT))
    await peer.wait(asyncio.Event())


async def dribbles(peer: Peer, request: Message) -> None:
    await peer.dribble(event_stream_head() + chunk(EVENT) + chunk(DONE) + LAST_CHUNK)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[Faulty]:
    async with Faulty(hangs) as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    upstream: Faulty, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A gateway with many providers: what it learns of one is not known of the next."""
    hasty = [f"provider-{number}" for number in range(PROVIDERS)]
    providers = [
        local_provider(name, "vllm", upstream.url) | {"timeouts": SHORT}
        for name in hasty
    ]
    config = only(
        *providers,
        local_provider(PATIENT, "vllm", upstream.url),
        models=[{"id": f"of-{name}", "providerId": name} for name in (*hasty, PATIENT)],
        stream={"keepAliveSeconds": 1},
        # Nobody waits for the end of a rate limit.
        routing={"queue": {"maxWaitSeconds": 1}},
    )
    async with serving(tmp_path_factory.mktemp("gateway"), config) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def model(numbers: Iterator[int]) -> str:
    """A model of a provider that no test has asked before."""
    return f"of-provider-{next(numbers)}"


@pytest_asyncio.fixture(loop_scope="module")
async def client(running: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{running.url}/v1", api_key="unused", max_retries=0, timeout=20
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("script", "status", "codes"),
    [
        (says(b"SSH-2.0-OpenSSH_9\r\n\r\n"), 502, {"upstream_error"}),
        (says(b""), 502, {"upstream_error", "upstream_stream_broken"}),
        (resets, 502, {"upstream_error", "upstream_stream_broken"}),
        (says(whole(REPLY)[:-5]), 502, {"upstream_error", "upstream_stream_broken"}),
        (says(head(302, "location: /login", "content-length: 0")), 502,
         {"upstream_error"}),
        (says(whole(b"oops", status=500, kind="text/plain")), 502, {"upstream_error"}),
        (says(whole(REFUSED, status=401)), 502, {"upstream_auth_failed"}),
        (says(whole(REFUSED, status=429)), 429, {"upstream_rate_limited"}),
        (hangs, 504, {"upstream_timeout"}),
    ],
    ids=["garbage", "nothing", "reset", "cut", "redirect", "500", "401", "429",
         "hangs"],
)  # fmt: skip
async def test_a_failure_is_named(
    client: openai.AsyncOpenAI,
    upstream: Faulty,
    model: str,
    script: Script,
    status: int,
    codes: set[str],
) -> None:
    upstream.script = script
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(model=model, messages=ASK)
    assert caught.value.status_code == status
    assert caught.value.code in codes
    assert upstream.url.removeprefix("http://") not in caught.value.message


async def test_the_callers_own_mistake_comes_back_as_the_upstream_said_it(
    client: openai.AsyncOpenAI, upstream: Faulty, model: str
) -> None:
    upstream.script = says(whole(REFUSED, status=422))
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await client.chat.completions.create(model=model, messages=ASK)
    assert "no such thing" in caught.value.message


async def test_a_stream_that_pauses_too_long_ends_with_an_error(
    client: openai.AsyncOpenAI, upstream: Faulty, model: str
) -> None:
    upstream.script = hangs_after_an_event
    stream = await client.chat.completions.create(
        model=model, messages=ASK, stream=True
    )
    chunks = aiter(stream)
    assert (await anext(chunks)).choices[0].delta.content == "x"
    with pytest.raises(openai.APIError) as caught:
        await anext(chunks)
    assert caught.value.code == "upstream_timeout"


async def test_a_stream_in_single_bytes_arrives_whole(
    running: Gateway, upstream: Faulty, model: str
) -> None:
    upstream.script = dribbles
    reply = await exchange(running.url, _asking(model))
    assert reply.body == EVENT + DONE
    assert reply.complete


async def test_a_silent_stream_is_kept_alive_by_comments(
    running: Gateway, upstream: Faulty
) -> None:
    seen = [asyncio.Event(), asyncio.Event()]

    async def slow(peer: Peer, request: Message) -> None:
        await peer.wait(seen[0])
        await peer.send(event_stream_head() + chunk(EVENT[:20]))
        await peer.wait(seen[1])
        await peer.send(chunk(EVENT[20:] + DONE) + LAST_CHUNK)

    upstream.script = slow
    reader, writer = await connect(running.url)
    writer.write(_asking(f"of-{PATIENT}"))
    received = b""
    async with asyncio.timeout(20):
        for event in seen:
            received += await reader.readuntil(b": keep-alive\n\n")
            event.set()
        received += await reader.readuntil(DONE)
    writer.close()
    # Comments fall between events, never into the one that was half there.
    assert EVENT in received


async def test_a_failure_harms_no_other_call(
    client: openai.AsyncOpenAI, upstream: Faulty, model: str
) -> None:
    async def mixed(peer: Peer, request: Message) -> None:
        if b"fail" in request.body:
            peer.reset()
            return
        await peer.send(whole(REPLY))

    upstream.script = mixed

    async def ask(word: str) -> bool:
        messages: Any = [{"role": "user", "content": word}]
        try:
            await client.chat.completions.create(model=model, messages=messages)
        except openai.APIStatusError:
            return False
        return True

    words = ["fail", "go on"] * 50
    outcomes = await asyncio.gather(*map(ask, words))
    assert outcomes == [word == "go on" for word in words]


def _asking(model: str) -> bytes:
    return post(CHAT, b'{"model":"%b","messages":[],"stream":true}' % model.encode())
