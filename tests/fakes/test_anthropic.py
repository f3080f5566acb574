"""The Anthropic fake is what it claims to be: the official client agrees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
import pytest_asyncio

from providers.anthropic import Anthropic
from providers.base import Life, Settings
from providers.errors import Blame
from tests.fakes.anthropic import KEY, NEWEST, OLDER, FakeAnthropic
from tests.fakes.talk import CACHED_TOKENS, JSON_TEXT, TEXT, THOUGHT, Called, Talk
from tests.fakes.test_fakes import replies_of

HELLO: Any = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: Any = [{"name": name, "input_schema": SCHEMA} for name in ("weather", "time")]


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeAnthropic]:
    fake = FakeAnthropic()
    async with fake.serving():
        yield fake


@pytest_asyncio.fixture
async def client(fake: FakeAnthropic) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=fake.url, api_key=KEY, max_retries=0
    ) as client:
        yield client


async def test_our_adapter_knows_it(fake: FakeAnthropic) -> None:
    adapter = Anthropic(Settings("p", fake.url, key=KEY))
    replies = await replies_of(adapter, fake, adapter.probe_headers())
    assert adapter.recognises(replies)
    assert adapter.read_liveness(replies["models"]) is Life.UP
    found = adapter.read_listing(replies)
    assert found is not None
    assert [model.id for model in found.models] == [OLDER, NEWEST]
    stranger = Anthropic(Settings("p", fake.url, key="wrong"))
    refused = await replies_of(stranger, fake, stranger.probe_headers())
    assert stranger.read_liveness(refused["models"]) is Life.REFUSED


async def test_a_whole_message(client: anthropic.AsyncAnthropic) -> None:
    said = await client.messages.create(model=OLDER, max_tokens=99, messages=HELLO)
    assert said.content[0].text == TEXT
    assert said.stop_reason == "end_turn"
    assert (said.usage.cache_read_input_tokens, said.usage.output_tokens) == (
        CACHED_TOKENS,
        4,
    )


async def test_a_stream_reassembles_to_the_whole(
    client: anthropic.AsyncAnthropic, fake: FakeAnthropic
) -> None:
    talk = Talk("Look", THOUGHT, (Called("weather"),), "tool_calls")
    fake.say(talk, talk)
    asked: Any = {"model": OLDER, "max_tokens": 9, "messages": HELLO}
    whole = await client.messages.create(**asked)
    async with client.messages.stream(**asked) as stream:
        streamed = await stream.get_final_message()
    blocks = [
        [b.model_dump(exclude={"parsed_output"}) for b in m.content]
        for m in (streamed, whole)
    ]
    assert blocks[0] == blocks[1]
    assert streamed.stop_reason == whole.stop_reason == "tool_use"
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert [block.type for block in whole.content] == ["thinking", "text", "tool_use"]


async def test_tools_are_called_in_parallel_and_their_results_taken(
    client: anthropic.AsyncAnthropic,
) -> None:
    asked: Any = {"model": NEWEST, "max_tokens": 99, "tools": TOOLS}
    said = await client.messages.create(messages=HELLO, **asked)
    calls = [block for block in said.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in calls] == [
        ("weather", {"city": "Paris"}),
        ("time", {"city": "Paris"}),
    ]
    results: Any = [
        {"type": "tool_result", "tool_use_id": call.id, "content": "ok"}
        for call in calls
    ]
    turns: Any = [*HELLO, {"role": "assistant", "content": said.content}]
    told = [*turns, {"role": "user", "content": results}]
    assert (await client.messages.create(messages=told, **asked)).content[
        0
    ].text == TEXT
    for wrong in ([*turns, *HELLO], [*turns, {"role": "user", "content": results[:1]}]):
        with pytest.raises(anthropic.BadRequestError, match="tool_use"):
            await client.messages.create(messages=wrong, **asked)


async def test_it_thinks_writes_json_stops_and_counts(
    client: anthropic.AsyncAnthropic,
) -> None:
    form: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    thought = await client.messages.create(
        model=NEWEST,
        max_tokens=99,
        messages=HELLO,
        thinking={"type": "adaptive"},
        output_config=form,
    )
    assert [block.type for block in thought.content] == ["thinking", "text"]
    assert thought.content[1].text == JSON_TEXT
    stopped = await client.messages.create(
        model=OLDER, max_tokens=99, messages=HELLO, stop_sequences=["the"]
    )
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "the")
    cut = await client.messages.create(model=OLDER, max_tokens=1, messages=HELLO)
    assert cut.stop_reason == "max_tokens"
    counted = await client.messages.count_tokens(model=OLDER, messages=HELLO)
    assert counted.input_tokens == 11


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"extra_body": {"temperature": 1}, "model": NEWEST}, "deprecated"),
        ({"extra_body": {"temperature": 1, "top_p": 1}}, "cannot both"),
        ({"extra_body": {"seed": 1}}, "seed: Extra inputs"),
        ({"thinking": {"type": "adaptive"}}, "adaptive"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "greater than"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}, "model": NEWEST},
            "not supported",
        ),
        ({"extra_headers": {"anthropic-beta": "odd-2026-01-01"}}, "Unexpected value"),
        ({"messages": [*HELLO, {"role": "system", "content": "x"}]}, "role"),
        (
            {
                "messages": [*HELLO, {"role": "assistant", "content": "x"}],
                "model": NEWEST,
            },
            "prefill",
        ),
    ],
)
async def test_it_refuses_what_the_real_one_refuses(
    client: anthropic.AsyncAnthropic, changes: dict[str, Any], said: str
) -> None:
    asked: Any = {"model": OLDER, "max_tokens": 99, "messages": HELLO} | changes
    with pytest.raises(anthropic.BadRequestError, match=said):
        await client.messages.create(**asked)


@pytest.mark.parametrize(
    ("fault", "error", "blame"),
    [
        ("bad_request", anthropic.BadRequestError, Blame.CALLER),
        ("too_long", anthropic.BadRequestError, Blame.CALLER),
        ("bad_key", anthropic.AuthenticationError, Blame.KEY),
        ("no_credit", anthropic.BadRequestError, Blame.BROKEN),
        ("rate_limited", anthropic.RateLimitError, Blame.RATE),
        ("overloaded", anthropic.InternalServerError, Blame.OVERLOADED),
        ("broken", anthropic.InternalServerError, Blame.BROKEN),
    ],
)
async def test_its_faults_are_read_by_client_and_adapter(
    client: anthropic.AsyncAnthropic,
    fake: FakeAnthropic,
    fault: str,
    error: type[anthropic.APIStatusError],
    blame: Blame,
) -> None:
    fake.script(fake.talk_path(), fake.fault(fault))
    with pytest.raises(error) as caught:
        await client.messages.create(model=OLDER, max_tokens=9, messages=HELLO)
    reply = caught.value.response
    adapter = Anthropic(Settings("p", fake.url, key=KEY))
    read = adapter.interpret(
        reply.status_code, tuple(reply.headers.items()), reply.content
    )
    assert read.blame is blame
    assert read.exceeds_context is (fault == "too_long")
    assert read.retry_after_s == (7 if fault == "rate_limited" else None)


async def test_streams_break_in_three_ways(
    client: anthropic.AsyncAnthropic, fake: FakeAnthropic
) -> None:
    async def read(fault: str) -> list[str]:
        fake.script(fake.talk_path(), fake.fault(fault))
        stream = await client.messages.create(
            model=OLDER, max_tokens=9, messages=HELLO, stream=True
        )
        return [event.type async for event in stream]

    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        await read("error_in_stream")
    with pytest.raises(Exception, match=r"peer closed|incomplete"):
        await read("cut_in_stream")
    assert "message_stop" not in await read("unended")
