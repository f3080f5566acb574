"""The behaving OpenAI fake is what it claims to be: the official client agrees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio

from providers.base import Settings
from providers.errors import Blame
from providers.openai_compatible import OpenAICompatible
from tests.fakes.chat import FakeChat
from tests.fakes.talk import JSON_TEXT, TEXT, THOUGHT, Called, Talk

MODEL = "fake-model"
HELLO: Any = [{"role": "user", "content": "hi"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("weather", "time")
]


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeChat]:
    fake = FakeChat()
    async with fake.serving():
        yield fake


@pytest_asyncio.fixture
async def ask(fake: FakeChat) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(
        base_url=f"{fake.url}/v1", api_key="k", max_retries=0
    ) as client:

        async def ask(messages: Any = HELLO, **options: Any) -> Any:
            return await client.chat.completions.create(
                model=MODEL, messages=messages, **options
            )

        yield ask


async def test_it_calls_tools_and_takes_their_results(ask: Any) -> None:
    said = (await ask(tools=TOOLS)).choices[0].message
    assert [call.function.name for call in said.tool_calls] == ["weather", "time"]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "ok"}
        for call in said.tool_calls
    ]
    turns = [*HELLO, said.model_dump(exclude_none=True)]
    told = await ask([*turns, *results], tools=TOOLS)
    assert told.choices[0].message.content == TEXT
    for wrong in ([*turns, *HELLO], [*HELLO, results[0]]):
        with pytest.raises(openai.BadRequestError):
            await ask(wrong)


async def test_a_stream_reassembles_to_the_whole(ask: Any, fake: FakeChat) -> None:
    talk = Talk("Look here", THOUGHT, (Called("weather"),), "tool_calls")
    fake.say(talk, talk)
    whole = await ask()
    chunks = [
        chunk
        async for chunk in await ask(
            stream=True, stream_options={"include_usage": True}
        )
    ]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    message = whole.choices[0].message
    assert "".join(delta.content or "" for delta in deltas) == message.content
    thoughts = [getattr(delta, "reasoning_content", None) or "" for delta in deltas]
    assert "".join(thoughts) == message.reasoning_content == THOUGHT
    pieces = [call.function for delta in deltas for call in delta.tool_calls or ()]
    arguments = "".join(piece.arguments for piece in pieces)
    assert arguments == message.tool_calls[0].function.arguments
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == "tool_calls"


async def test_it_thinks_writes_json_and_stops(ask: Any) -> None:
    form = {"type": "json_object"}
    thought = await ask(reasoning_effort="low", response_format=form)
    message = thought.choices[0].message
    assert (message.reasoning_content, message.content) == (THOUGHT, JSON_TEXT)
    assert (await ask(stop=" the")).choices[0].message.content == "Hello from"
    assert (await ask(max_tokens=1)).choices[0].finish_reason == "length"
    with pytest.raises(openai.BadRequestError, match="seed"):
        await ask(extra_body={"seed": None})


@pytest.mark.parametrize(
    ("fault", "error", "blame"),
    [
        ("bad_request", openai.BadRequestError, Blame.CALLER),
        ("too_long", openai.BadRequestError, Blame.CALLER),
        ("bad_key", openai.AuthenticationError, Blame.KEY),
        ("rate_limited", openai.RateLimitError, Blame.RATE),
        ("overloaded", openai.InternalServerError, Blame.OVERLOADED),
        ("broken", openai.InternalServerError, Blame.BROKEN),
    ],
)
async def test_its_faults_are_read_by_client_and_adapter(
    ask: Any,
    fake: FakeChat,
    fault: str,
    error: type[openai.APIStatusError],
    blame: Blame,
) -> None:
    fake.script(fake.talk_path(), fake.fault(fault))
    with pytest.raises(error) as caught:
        await ask()
    reply = caught.value.response
    read = OpenAICompatible(Settings("p", fake.url)).interpret(
        reply.status_code, tuple(reply.headers.items()), reply.content
    )
    assert read.blame is blame
    assert read.exceeds_context is (fault == "too_long")
    assert read.retry_after_s == (7 if fault == "rate_limited" else None)


async def test_streams_break_in_three_ways(ask: Any, fake: FakeChat) -> None:
    async def read(fault: str) -> list[str | None]:
        fake.script(fake.talk_path(), fake.fault(fault))
        stream = await ask(stream=True)
        return [chunk.choices[0].finish_reason async for chunk in stream]

    with pytest.raises(openai.APIError, match="server had an error"):
        await read("error_in_stream")
    with pytest.raises(openai.APIConnectionError):
        await read("cut_in_stream")
    assert await read("unended") == [None, None]
