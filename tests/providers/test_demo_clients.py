"""Official clients talk to the demo server, its steps played without their pauses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anthropic
import openai
import pytest

from providers.base import Settings
from providers.demo import Demo, Responder

HELLO = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        responder = Responder()
        try:
            while data := await reader.read(65536):
                for step in responder.feed(data):
                    writer.write(step.data)
                    if step.close:
                        return
                await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(play, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key="k", max_retries=0
    ) as made:
        yield made


async def test_chat_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="demo", messages=HELLO)
    async with client.chat.completions.stream(
        model="demo", messages=HELLO, stream_options={"include_usage": True}
    ) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.usage == whole.usage


async def test_a_tool_call_comes_together(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model="demo", messages=HELLO, tools=[TOOL], tool_choice="required"
    ) as stream:
        final = await stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or ()
    assert (call.function.name, call.function.arguments) == ("look", "{}")


async def test_responses_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    whole = await client.responses.create(model="demo", input="hi")
    async with client.responses.stream(model="demo", input="hi") as stream:
        final = await stream.get_final_response()
    assert final.output_text == whole.output_text != ""


async def test_completions_embeddings_and_models(client: openai.AsyncOpenAI) -> None:
    completion = await client.completions.create(model="demo", prompt="x", max_tokens=2)
    assert completion.choices[0].text == "This is"
    # The client asks for base64 by itself, and decodes it.
    vectors = await client.embeddings.create(
        model="demo-embed", input="x", dimensions=4
    )
    assert len(vectors.data[0].embedding) == 4
    assert [model.id async for model in client.models.list()] == ["demo", "demo-embed"]


async def test_faults_are_errors_to_the_client(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError, match="on purpose"):
        await client.chat.completions.create(model="demo-error", messages=HELLO)
    stream = await client.chat.completions.create(
        model="demo-broken", messages=HELLO, stream=True
    )
    with pytest.raises(openai.APIConnectionError):
        [chunk async for chunk in stream]


async def test_messages_whole_streamed_and_with_a_tool(url: str) -> None:
    tool = {"name": "look", "input_schema": {"type": "object"}}
    async with anthropic.AsyncAnthropic(
        base_url=url, api_key="k", max_retries=0
    ) as client:
        whole = await client.messages.create(
            model="demo", max_tokens=99, messages=HELLO
        )
        async with client.messages.stream(
            model="demo", max_tokens=99, messages=HELLO
        ) as stream:
            final = await stream.get_final_message()
        assert final.content[0].text == whole.content[0].text
        assert final.usage.output_tokens == whole.usage.output_tokens
        async with client.messages.stream(
            model="demo",
            max_tokens=9,
            messages=HELLO,
            tools=[tool],
            tool_choice={"type": "any"},
        ) as stream:
            (block,) = (await stream.get_final_message()).content
        assert (block.type, block.name, block.input) == ("tool_use", "look", {})
        counted = await client.messages.count_tokens(model="demo", messages=HELLO)
        assert counted.input_tokens == 1


def test_the_adapter_of_the_demo_needs_no_address_of_the_network() -> None:
    adapter = Demo(Settings("demo", Demo.default_url or ""))
    assert adapter.passage("/v1/models", ()).url_path == "/v1/models"
