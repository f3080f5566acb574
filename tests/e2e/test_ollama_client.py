"""The official ollama client through /ollama, at a fake daemon's native API.

Each test runs through either door. Daemon and gateways live as long as the module.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import ollama
import pytest
import pytest_asyncio

from tests.e2e.conftest import local_provider, only
from tests.fakes.ollama import COUNTS, CREATED, FakeOllama
from tests.fakes.openai import WORDS
from tests.fakes.upstream import NDJSON_TYPE, Answer, ndjson
from tests.parts.doors import FAST, ORDINARY, by_door
from tests.parts.gateway import Gateway, run_gateway

MODEL = "llama3.1:8b"
ASK = [{"role": "user", "content": "Hi"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


HOT = ("/api/chat", "/api/generate", "/api/embed")
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon() -> AsyncIterator[FakeOllama]:
    daemon = FakeOllama(loaded={MODEL: 4096})
    async with daemon.serving():
        yield daemon


@pytest.fixture
def fake(daemon: FakeOllama) -> FakeOllama:
    """The daemon, as if nobody had asked it yet."""
    daemon.received.clear()
    daemon.left.clear()
    return daemon


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[FAST, ORDINARY])
async def running(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    daemon: FakeOllama,
) -> AsyncIterator[tuple[str, Gateway]]:
    """A gateway and the door it has."""
    config = only(
        local_provider("desk", "ollama", daemon.url),
        server={"fastPath": request.param == FAST},
    )
    with ExitStack() as stack:
        opening = run_gateway(tmp_path_factory.mktemp("gateway"), config)
        # In a thread: it is ready when it has asked the daemon, which is served here.
        yield request.param, await asyncio.to_thread(stack.enter_context, opening)


@pytest_asyncio.fixture(loop_scope="module")
async def client(
    running: tuple[str, Gateway], fake: FakeOllama
) -> AsyncIterator[ollama.AsyncClient]:
    door, gateway = running
    with by_door(door, gateway, lambda: sum(len(fake.of_path(path)) for path in HOT)):
        yield ollama.AsyncClient(host=f"{gateway.url}/ollama", timeout=20)


async def test_chat_whole(client: ollama.AsyncClient, fake: FakeOllama) -> None:
    reply = await client.chat(MODEL, ASK, options={"num_ctx": 512}, keep_alive="1m")
    assert reply.message.content == "".join(WORDS)
    assert reply.eval_count == COUNTS["eval_count"]
    [received] = fake.of_path("/api/chat")
    assert received.json()["options"] == {"num_ctx": 512}
    assert received.json()["keep_alive"] == "1m"


async def test_chat_stream(client: ollama.AsyncClient) -> None:
    parts = [part async for part in await client.chat(MODEL, ASK, stream=True)]
    assert [part.message.content for part in parts] == [*WORDS, ""]
    assert parts[-1].done_reason == "stop"


async def test_tool_calls_arrive_whole(
    client: ollama.AsyncClient, fake: FakeOllama
) -> None:
    call = {"function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    said = {"role": "assistant", "content": "", "tool_calls": [call]}
    fake.script("/api/chat", _stream({"message": said}))
    parts = [
        part
        async for part in await client.chat(MODEL, ASK, tools=[WEATHER], stream=True)
    ]
    [got] = parts[0].message.tool_calls or []
    assert got.function.name == "weather"
    assert got.function.arguments == {"city": "Oslo"}


async def test_an_unknown_model_is_ollamas_own_error(
    client: ollama.AsyncClient,
) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        await client.chat("nothing", ASK)
    assert caught.value.status_code == 404
    assert caught.value.error == "model 'nothing' not found"


async def test_an_error_within_a_stream_comes_through(
    client: ollama.AsyncClient, fake: FakeOllama
) -> None:
    fake.script("/api/generate", _stream({"response": "one"}, {"error": "no memory"}))
    parts = aiter(await client.generate(MODEL, "Hi", stream=True))
    assert (await anext(parts)).response == "one"
    with pytest.raises(ollama.ResponseError, match="no memory"):
        await anext(parts)


async def test_a_cut_stream_ends_with_an_error(
    client: ollama.AsyncClient, fake: FakeOllama
) -> None:
    # Line boundary or not: without `done` it is no whole answer.
    for rest in (b"", b'{"model": "lla'):
        pieces = (*ndjson(_line({"response": "one"})), rest)
        fake.script("/api/generate", Answer(200, pieces, NDJSON_TYPE, cut=True))
        parts = aiter(await client.generate(MODEL, "Hi", stream=True))
        assert (await anext(parts)).response == "one"
        with pytest.raises(ollama.ResponseError):
            await anext(parts)


async def test_embed(client: ollama.AsyncClient) -> None:
    reply = await client.embed(MODEL, ["Hi", "you"])
    assert reply.embeddings == [[0.25, -0.5]] * 2


async def test_metadata(client: ollama.AsyncClient) -> None:
    names = [model.model for model in (await client.list()).models]
    assert names == [MODEL, "nomic-embed-text:latest"]
    assert [model.model for model in (await client.ps()).models] == [MODEL]
    shown = (await client.show(MODEL)).capabilities or []
    assert {"completion", "tools"} <= set(shown)


async def test_the_owner_may_pull_and_delete(
    client: ollama.AsyncClient, fake: FakeOllama
) -> None:
    parts = [part async for part in await client.pull(MODEL, stream=True)]
    assert [part.status for part in parts] == ["success"]
    [received] = fake.of_path("/api/pull")
    assert received.json()["model"] == MODEL
    assert (await client.delete(MODEL)).status == "success"


async def test_leaving_a_stream_stops_the_upstream(
    client: ollama.AsyncClient, fake: FakeOllama
) -> None:
    pieces = ndjson(_line({"response": "one"}), _line({"response": "never"}))
    never = {1: asyncio.Event()}
    fake.script("/api/generate", Answer(200, pieces, NDJSON_TYPE, before_piece=never))
    parts: Any = await client.generate(MODEL, "Hi", stream=True)
    assert (await anext(parts)).response == "one"
    await parts.aclose()
    async with asyncio.timeout(2):
        await fake.left.wait()


def _stream(*contents: dict[str, Any]) -> Answer:
    """Lines with these contents, then the last line of a whole answer."""
    end = {"done": True, "done_reason": "stop", **COUNTS}
    lines = [*map(_line, contents), _line({"message": _SILENCE, "response": ""} | end)]
    return Answer(200, ndjson(*lines), NDJSON_TYPE)


_SILENCE = {"role": "assistant", "content": ""}


def _line(content: dict[str, Any]) -> dict[str, Any]:
    return {"model": MODEL, "created_at": CREATED, "done": False} | content
