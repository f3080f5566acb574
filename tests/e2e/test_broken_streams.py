"""A stream cut anywhere before its end never looks complete to an official SDK.

A real stream, recorded first, is played by a faulty upstream and cut at a byte;
how the connection ends there alternates between FIN, RST, and a chunked body that
is ended properly though its last event is not.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
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
CHAT, MESSAGES, RESPONSES = (
    "/v1/chat/completions", "/v1/messages", "/v1/responses",
)  # fmt: skip
SAMPLE = 97  # bytes between two cuts; a prime, so that cuts fall everywhere


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
    models = [{"id": "tiny", "providerId": "faulty"}]
    return await gateway(only(provider, models=models))


async def test_chat_cut_at_every_byte(
    broken: Gateway, recorded: dict[str, bytes]
) -> None:
    client = _openai(broken)

    async def ask(cut: int) -> str:
        return await _chat_ending(client, cut)

    await _assert_all_broken(ask, range(len(recorded[CHAT])))


async def test_an_uncut_chat_ends_well(
    broken: Gateway, recorded: dict[str, bytes]
) -> None:
    assert await _chat_ending(_openai(broken), len(recorded[CHAT])) == "complete"


async def test_messages_cut(broken: Gateway, recorded: dict[str, bytes]) -> None:
    client = anthropic.AsyncAnthropic(
        base_url=broken.url, api_key="unused", max_retries=0
    )

    async def ask(cut: int) -> str:
        return await _message_ending(client, cut)

    whole = len(recorded[MESSAGES])
    assert await ask(whole) == "complete"
    await _assert_all_broken(ask, [*range(0, whole, SAMPLE), whole - 2, whole - 1])


async def test_responses_cut(broken: Gateway, recorded: dict[str, bytes]) -> None:
    client = _openai(broken)

    async def ask(cut: int) -> str:
        return await _response_ending(client, cut)

    whole = len(recorded[RESPONSES])
    assert await ask(whole) == "complete"
    await _assert_all_broken(ask, [*range(0, whole, SAMPLE), whole - 2, whole - 1])


async def _assert_all_broken(
    ask: Callable[[int], Awaitable[str]], cuts: Iterable[int]
) -> None:
    """Ask with each cut, some at a time; none may end but as a broken stream."""
    waiting = iter(cuts)
    wrong: dict[int, str] = {}
    count = 0

    async def work() -> None:
        nonlocal count
        for cut in waiting:
            count += 1
            if (ending := await ask(cut)) != "upstream_stream_broken":
                wrong[cut] = ending

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    assert count > 0
    assert not wrong, f"{len(wrong)} of {count}, such as {sorted(wrong.items())[:5]}"


async def _chat_ending(client: openai.AsyncOpenAI, cut: int) -> str:
    try:
        stream = await client.chat.completions.create(
            model="tiny", messages=ASK, stream=True, extra_body={"cut": cut}
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
            model="tiny", max_tokens=2, messages=ASK, stream=True,
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
            model="tiny", input="Hi", stream=True, extra_body={"cut": cut}
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


def _openai(gateway: Gateway) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0, timeout=20
    )
