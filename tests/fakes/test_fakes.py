"""The fakes are what they claim to be: official clients and our adapters agree."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aiohttp
import anthropic
import ollama
import openai
import pytest

from providers.base import Adapter, Life, ProbeReply, Settings
from providers.lmstudio import LMStudio
from providers.ollama import Ollama
from providers.openai_compatible import OpenAICompatible
from tests.fakes.lmstudio import FakeLMStudio
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai import WORDS, FakeOpenAI
from tests.fakes.upstream import Answer, FakeUpstream

TEXT = "".join(WORDS)
HELLO = [{"role": "user", "content": "hi"}]


async def replies_of(
    adapter: Adapter, fake: FakeUpstream, headers: Iterable[tuple[str, str]] = ()
) -> dict[str, ProbeReply]:
    async with aiohttp.ClientSession(headers=list(headers)) as session:
        replies = {}
        for probe in (adapter.liveness, *adapter.listing):
            async with session.request(probe.method, fake.url + probe.path) as reply:
                replies[probe.name] = ProbeReply(reply.status, await reply.read())
        return replies


@pytest.mark.parametrize(
    ("fake_kind", "kind"),
    [
        (FakeOpenAI, OpenAICompatible),
        (FakeOllama, Ollama),
        (FakeLMStudio, LMStudio),
    ],
)
async def test_the_adapter_takes_the_fake_for_the_real_thing(
    fake_kind: type[FakeUpstream], kind: type[Adapter]
) -> None:
    fake = fake_kind()
    async with fake.serving():
        adapter = kind(Settings("p", fake.url))
        replies = await replies_of(adapter, fake)
    assert adapter.recognises(replies)
    assert adapter.read_liveness(replies[adapter.liveness.name]) is Life.UP
    assert adapter.read_listing(replies) is not None


async def test_what_is_loaded_is_told() -> None:
    studio, daemon = FakeLMStudio(loaded=("qwen/qwen3-4b",)), FakeOllama()
    daemon.loaded = {"llama3.1:8b": 4096}
    for fake, adapter_kind in ((studio, LMStudio), (daemon, Ollama)):
        async with fake.serving():
            adapter = adapter_kind(Settings("p", fake.url))
            found = adapter.read_listing(await replies_of(adapter, fake))
        assert found is not None
        assert [model.warm for model in found.models] == [True, False]


async def test_an_old_lmstudio_answers_200_to_what_it_has_not() -> None:
    fake = FakeLMStudio(old=True)
    async with fake.serving():
        adapter = LMStudio(Settings("p", fake.url))
        replies = await replies_of(adapter, fake)
    assert replies["native"].status == 200
    assert adapter.read_liveness(replies["native"]) is Life.UP
    assert adapter.recognises(replies)


async def test_openais_client_understands_it() -> None:
    fake = FakeOpenAI()
    async with (
        fake.serving(),
        openai.AsyncOpenAI(base_url=f"{fake.url}/v1", api_key="k") as client,
    ):
        stream = await client.chat.completions.create(
            model="fake-model", messages=HELLO, stream=True
        )
        parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
        response = await client.responses.create(model="fake-model", input="hi")
        events = await client.responses.create(
            model="fake-model", input="x", stream=True
        )
        kinds = [event.type async for event in events]
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await client.chat.completions.create(model="other", messages=HELLO)
    assert "".join(parts) == response.output_text == TEXT
    assert kinds[-1] == "response.completed"
    assert fake.received[0].header("authorization") == "Bearer k"
    assert fake.received[0].json()["messages"] == HELLO


async def test_anthropics_client_understands_it() -> None:
    fake = FakeOpenAI()
    async with (
        fake.serving(),
        anthropic.AsyncAnthropic(base_url=fake.url, api_key="k") as client,
    ):
        async with client.messages.stream(
            model="fake-model", max_tokens=9, messages=HELLO
        ) as stream:
            assert await stream.get_final_text() == TEXT
        counted = await client.messages.count_tokens(model="fake-model", messages=HELLO)
        assert counted.input_tokens == 7
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.create(model="x", max_tokens=9, messages=HELLO)


async def test_ollamas_client_understands_it() -> None:
    fake = FakeOllama()
    async with fake.serving():
        client = ollama.AsyncClient(host=fake.url, trust_env=False)
        stream = await client.chat(model="llama3.1:8b", messages=HELLO, stream=True)
        parts = [part async for part in stream]
        assert "".join(part.message.content for part in parts) == TEXT
        assert parts[-1].eval_count == len(WORDS)
        whole = await client.generate(model="llama3.1:8b", prompt="hi")
        assert whole.response == TEXT
        with pytest.raises(ollama.ResponseError, match="not found"):
            await client.chat(model="x", messages=HELLO)


async def test_requests_are_kept_as_they_came() -> None:
    fake = FakeOpenAI()
    async with fake.serving(), aiohttp.ClientSession() as session:
        url = f"{fake.url}/v1/caf%C3%A9?a=%20b&a=c"
        async with session.put(
            aiohttp.client.URL(url, encoded=True),
            data=b"\x00\xff",
            headers={"X-A": "1"},
        ) as reply:
            assert reply.status == 404
    (received,) = fake.received
    assert (received.method, received.target) == ("PUT", "/v1/caf%C3%A9?a=%20b&a=c")
    assert received.body == b"\x00\xff"
    assert received.header("x-a") == "1"


async def test_a_scripted_answer_comes_once_and_waits_for_its_event() -> None:
    fake, gate = FakeOpenAI(), asyncio.Event()
    fake.script("/v1/models", Answer.of({"error": "busy"}, 503, before_head=gate))
    async with fake.serving(), aiohttp.ClientSession() as session:
        asking = asyncio.create_task(session.get(f"{fake.url}/v1/models"))
        await fake.arrived.wait()
        assert not asking.done()
        gate.set()
        assert (await asking).status == 503
        async with session.get(f"{fake.url}/v1/models") as reply:
            assert reply.status == 200


async def test_a_cut_answer_does_not_end() -> None:
    fake = FakeOpenAI()
    fake.script("/v1/models", Answer(pieces=(b"half", b" of it"), cut=True))
    async with (
        fake.serving(),
        aiohttp.ClientSession() as session,
        session.get(f"{fake.url}/v1/models") as reply,
    ):
        with pytest.raises(aiohttp.ClientPayloadError):
            await reply.read()


async def test_a_caller_that_leaves_is_noticed() -> None:
    fake, never = FakeOpenAI(), asyncio.Event()
    fake.script("/v1/models", Answer(pieces=(b"a", b"b"), before_piece={1: never}))
    async with fake.serving(), aiohttp.ClientSession() as session:
        async with session.get(f"{fake.url}/v1/models") as reply:
            assert await reply.content.readany() == b"a"
            reply.close()
        await fake.left.wait()
    assert fake.gone == 1


async def test_its_websocket_echoes() -> None:
    fake = FakeLMStudio()
    async with fake.serving(), aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{fake.url}/llm") as socket:
            await socket.send_str("hé")
            assert await socket.receive_str() == "hé"
            await socket.send_bytes(b"\x00")
            assert await socket.receive_bytes() == b"\x00"
            await socket.close(code=4001)
        await fake.left.wait()
    assert fake.messages == ["hé", b"\x00"]
    assert fake.close_code == 4001
