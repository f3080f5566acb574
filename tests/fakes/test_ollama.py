"""The Ollama fake's own dialect is what it claims to be: the official client agrees."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import ollama
import pytest
import pytest_asyncio

from providers.base import Settings
from providers.errors import Blame
from providers.ollama import Ollama
from tests.fakes.ollama import FakeOllama
from tests.fakes.talk import JSON_TEXT, TEXT, THOUGHT, Called, Talk
from tests.fakes.test_fakes import replies_of

MODEL = "llama3.1:8b"
HELLO = [{"role": "user", "content": "hi"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("weather", "time")
]


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeOllama]:
    fake = FakeOllama()
    async with fake.serving():
        yield fake


@pytest.fixture
def client(fake: FakeOllama) -> ollama.AsyncClient:
    return ollama.AsyncClient(host=fake.url, trust_env=False)


async def test_a_context_that_is_asked_for_is_loaded_and_told(
    client: ollama.AsyncClient, fake: FakeOllama
) -> None:
    adapter = Ollama(Settings("p", fake.url))

    async def state() -> tuple[bool | None, int | None]:
        found = adapter.read_listing(await replies_of(adapter, fake))
        assert found is not None
        return found.models[0].warm, found.models[0].context_window

    assert await state() == (False, None)
    await client.chat(MODEL, HELLO)
    assert await state() == (True, 4096)
    await client.chat(MODEL, HELLO, options={"num_ctx": 32768}, keep_alive="10m")
    assert await state() == (True, 32768)
    gone = await client.generate(MODEL, keep_alive=0)
    assert gone.done_reason == "unload"
    assert await state() == (False, None)
    assert (await client.chat(MODEL, [])).done_reason == "load"


async def test_it_calls_tools_and_takes_their_results(
    client: ollama.AsyncClient,
) -> None:
    said = await client.chat(MODEL, HELLO, tools=TOOLS)
    calls = said.message.tool_calls or []
    assert [(c.function.name, c.function.arguments) for c in calls] == [
        ("weather", {"city": "Paris"}),
        ("time", {"city": "Paris"}),
    ]
    results = [{"role": "tool", "content": "ok", "tool_name": "time"}]
    told = await client.chat(MODEL, [*HELLO, said.message, *results], tools=TOOLS)
    assert told.message.content == TEXT


async def test_a_stream_reassembles_to_the_whole(
    client: ollama.AsyncClient, fake: FakeOllama
) -> None:
    talk = Talk("Look here", THOUGHT, (Called("weather"),), "tool_calls")
    fake.say(talk, talk)
    whole = await client.chat(MODEL, HELLO)
    parts = [part async for part in await client.chat(MODEL, HELLO, stream=True)]
    for name in ("content", "thinking"):
        streamed = "".join(getattr(part.message, name) or "" for part in parts)
        assert streamed == getattr(whole.message, name)
    calls = [call for part in parts for call in part.message.tool_calls or []]
    assert calls == whole.message.tool_calls
    assert parts[-1].eval_count == whole.eval_count == talk.tokens


async def test_it_thinks_writes_json_and_stops(client: ollama.AsyncClient) -> None:
    thought = await client.chat(MODEL, HELLO, think=True, format={"type": "object"})
    assert (thought.message.thinking, thought.message.content) == (THOUGHT, JSON_TEXT)
    made = await client.generate(MODEL, "hi", think=True, options={"stop": [" the"]})
    assert (made.thinking, made.response) == (THOUGHT, "Hello from")
    cut = await client.chat(MODEL, HELLO, options={"num_predict": 1})
    assert cut.done_reason == "length"


async def test_it_refuses_what_the_real_one_refuses(fake: FakeOllama) -> None:
    client = ollama.AsyncClient(host=fake.url, trust_env=False)
    image = base64.b64encode(b"\x89PNG").decode()
    seen = await client.chat(MODEL, [{**HELLO[0], "images": [image]}])
    assert seen.message.content == TEXT
    fake.able = ("completion",)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"tools": TOOLS}, "does not support tools"),
        ({"think": True}, "does not support thinking"),
    ]
    for asked, said in refused:
        with pytest.raises(ollama.ResponseError, match=said):
            await client.chat(MODEL, HELLO, **asked)
    fake.able = ("completion", "thinking")
    with pytest.raises(ollama.ResponseError, match='value "high" is not supported'):
        await client.chat(MODEL, HELLO, think="high")


@pytest.mark.parametrize(
    ("fault", "status", "blame"),
    [
        ("bad_request", 400, Blame.CALLER),
        ("too_long", 400, Blame.CALLER),
        ("bad_key", 401, Blame.KEY),
        ("rate_limited", 429, Blame.RATE),
        ("overloaded", 503, Blame.OVERLOADED),
        ("broken", 500, Blame.BROKEN),
    ],
)
async def test_its_faults_are_read_by_client_and_adapter(
    client: ollama.AsyncClient,
    fake: FakeOllama,
    fault: str,
    status: int,
    blame: Blame,
) -> None:
    answer = fake.fault(fault)
    fake.script(fake.talk_path(), answer)
    with pytest.raises(ollama.ResponseError) as caught:
        await client.chat(MODEL, HELLO)
    assert caught.value.status_code == status
    headers = tuple(answer.headers.items())
    read = Ollama(Settings("p", fake.url)).interpret(status, headers, answer.pieces[0])
    assert (read.blame, read.message) == (blame, caught.value.error)
    assert read.exceeds_context is (fault == "too_long")
    assert read.retry_after_s == (7 if fault == "rate_limited" else None)


async def test_streams_break_in_three_ways(
    client: ollama.AsyncClient, fake: FakeOllama
) -> None:
    async def read(fault: str) -> list[bool | None]:
        fake.script(fake.talk_path(), fake.fault(fault))
        return [
            part.done async for part in await client.chat(MODEL, HELLO, stream=True)
        ]

    with pytest.raises(ollama.ResponseError, match="encountered"):
        await read("error_in_stream")
    with pytest.raises(Exception, match=r"peer closed|incomplete"):
        await read("cut_in_stream")
    assert await read("unended") == [False, False]
