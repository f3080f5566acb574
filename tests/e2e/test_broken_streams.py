"""A stream cut anywhere before its end never looks complete to an official SDK.

A real stream, recorded first, is played by a faulty upstream and cut at a byte: at
some of them and around the end of every event, with `-m slow` at all. How the
connection ends there alternates between FIN, RST, and a chunked body that is ended
properly though its last event is not.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import anthropic
import openai
import pytest

from tests.e2e.conftest import local_provider, only
from tests.parts.faulty import Faulty, Peer
from tests.parts.gateway import Gateway, Start
from tests.parts.http_text import LAST_CHUNK, Message, chunk, event_stream_head
from tests.parts.recorded import ASK, record_stream

AT_ONCE = 16
STEP = 11  # no multiple of 3: so every way to end comes with every kind of place
CHAT, MESSAGES, RESPONSES = (
    "/v1/chat/completions", "/v1/messages", "/v1/responses",
)  # fmt: skip
BROKEN = "upstream_stream_broken"


@pytest.fixture(scope="module")
def recorded(llama: str) -> dict[str, bytes]:
    return {path: record_stream(llama, path) for path in (CHAT, MESSAGES, RESPONSES)}


@pytest.fixture
async def upstream(recorded: dict[str, bytes]) -> AsyncIterator[Faulty]:
    async def play(peer: Peer, request: Message) -> None:
        stream = recorded[request.target]
        cut = int(json.loads(request.body)["cut"])
        await peer.send(event_stream_head() + chunk(stream[:cut]))
        if cut == len(stream) or cut % 3 == 0:
            await peer.send(LAST_CHUNK)
        elif cut % 3 == 1:
            peer.close()
        else:
            peer.reset()

    async with Faulty(play) as upstream:
        yield upstream


@pytest.fixture
async def broken(gateway: Start, upstream: Faulty) -> Gateway:
    provider = local_provider("faulty", "vllm", upstream.url)
    # A model for each cut, or the breaker of one would spare the provider the rest.
    models = [{"id": "cut-*", "providerId": "faulty"}]
    routing = {"retry": {"budgetRatio": 0}, "queue": {"maxWaitSeconds": 0}}
    return await gateway(only(provider, models=models, routing=routing))


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_a_stream_that_is_cut_is_broken(
    broken: Gateway, recorded: dict[str, bytes], path: str
) -> None:
    await _assert_broken(broken, path, _places(recorded[path]))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_a_stream_cut_at_any_byte_is_broken(
    broken: Gateway, recorded: dict[str, bytes], path: str
) -> None:
    await _assert_broken(broken, path, range(len(recorded[path])))


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_an_uncut_stream_is_complete(
    broken: Gateway, recorded: dict[str, bytes], path: str
) -> None:
    whole = len(recorded[path])
    assert await _endings(broken, path, [whole]) == {whole: "complete"}


def _places(stream: bytes) -> list[int]:
    """Some bytes of a stream, and those around the end of each of its events."""
    ends = {end.end() for end in re.finditer(rb"\n\n", stream)}
    around = {end + shift for end in ends for shift in (-2, -1, 0, 1)}
    return sorted((around | set(range(0, len(stream), STEP))) & set(range(len(stream))))


async def _assert_broken(gateway: Gateway, path: str, cuts: Sequence[int]) -> None:
    endings = await _endings(gateway, path, cuts)
    wrong = {cut: end for cut, end in endings.items() if end != BROKEN}
    assert len(endings) == len(cuts) > 0
    assert not wrong, f"{len(wrong)} of {len(endings)}: {sorted(wrong.items())[:5]}"


async def _endings(gateway: Gateway, path: str, cuts: Iterable[int]) -> dict[int, str]:
    """Ask once for each cut, some at a time; tells how each stream ended."""
    openais = openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0, timeout=20
    )
    anthropics = anthropic.AsyncAnthropic(
        base_url=gateway.url, api_key="unused", max_retries=0, timeout=20
    )
    ask: dict[str, Callable[[int], Awaitable[str]]] = {
        CHAT: partial(_chat_ending, openais),
        RESPONSES: partial(_response_ending, openais),
        MESSAGES: partial(_message_ending, anthropics),
    }
    waiting = iter(cuts)
    endings = {}

    async def work() -> None:
        for cut in waiting:
            endings[cut] = await ask[path](cut)

    async with openais, anthropics:
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return endings


async def _chat_ending(client: openai.AsyncOpenAI, cut: int) -> str:
    try:
        stream = await client.chat.completions.create(
            model=f"cut-{cut}", messages=ASK, stream=True, extra_body={"cut": cut}
        )
        async for _ in stream:
            pass
    except openai.APIError as error:
        return error.code or repr(error)
    except Exception as error:
        return repr(error)
    return "complete"


async def _message_ending(client: anthropic.AsyncAnthropic, cut: int) -> str:
    try:
        stream = await client.messages.create(
            model=f"cut-{cut}", max_tokens=2, messages=ASK, stream=True,
            extra_body={"cut": cut},
        )  # fmt: skip
        kinds = [event.type async for event in stream]
    except anthropic.APIStatusError as error:
        body: Any = error.body
        # Anthropic's own errors have no code: ours stands beside the type.
        return str(body["error"].get("code") or body)
    except Exception as error:
        return repr(error)
    return "complete" if kinds[-1:] == ["message_stop"] else f"silent end after {kinds}"


async def _response_ending(client: openai.AsyncOpenAI, cut: int) -> str:
    last = None
    try:
        stream = await client.responses.create(
            model=f"cut-{cut}", input="Hi", stream=True, extra_body={"cut": cut}
        )
        async for event in stream:
            last = event
    except openai.APIError as error:
        return error.code or repr(error)
    except Exception as error:
        return repr(error)
    if last is None:
        return "empty"
    if last.type == "response.failed":
        failure = last.response.error
        return failure.code if failure else "failed without an error"
    return "complete" if last.type == "response.completed" else f"silent: {last.type}"
