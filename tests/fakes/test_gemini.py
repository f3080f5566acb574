"""The Gemini fake is what it claims to be: the official client agrees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from google import genai
from google.genai import errors, types

from providers.base import Life, Settings
from providers.errors import Blame
from providers.gemini import Gemini
from tests.fakes.gemini import EMBEDS, KEY, NEWEST, OLDER, FakeGemini
from tests.fakes.talk import CACHED_TOKENS, JSON_TEXT, TEXT, THOUGHT, Called, Talk
from tests.fakes.test_fakes import replies_of

SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [
    types.Tool(
        function_declarations=[
            types.FunctionDeclaration(name=name, parameters_json_schema=SCHEMA)
            for name in ("weather", "time")
        ]
    )
]


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeGemini]:
    fake = FakeGemini()
    async with fake.serving():
        yield fake


@pytest_asyncio.fixture
async def models(fake: FakeGemini) -> AsyncIterator[Any]:
    options = types.HttpOptions(
        base_url=fake.url,
        api_version="v1beta",
        retry_options=types.HttpRetryOptions(attempts=1),
        async_client_args={"trust_env": False},
    )
    client = genai.Client(api_key=KEY, http_options=options)
    yield client.aio.models
    await client.aio.aclose()


def config(**settings: Any) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(**settings)


async def test_our_adapter_knows_it(fake: FakeGemini) -> None:
    adapter = Gemini(Settings("p", fake.url, key=KEY))
    replies = await replies_of(adapter, fake, adapter.probe_headers())
    assert adapter.recognises(replies)
    assert adapter.read_liveness(replies["models"]) is Life.UP
    found = adapter.read_listing(replies)
    assert found is not None
    assert [model.id for model in found.models] == [OLDER, NEWEST, EMBEDS]
    stranger = Gemini(Settings("p", fake.url, key="wrong"))
    refused = await replies_of(stranger, fake, stranger.probe_headers())
    assert stranger.read_liveness(refused["models"]) is Life.REFUSED


async def test_whole_and_streamed_say_the_same(models: Any, fake: FakeGemini) -> None:
    whole = await models.generate_content(model=OLDER, contents="hi")
    chunks = [
        chunk
        async for chunk in await models.generate_content_stream(
            model=OLDER, contents="hi"
        )
    ]
    assert whole.text == "".join(chunk.text or "" for chunk in chunks) == TEXT
    assert chunks[-1].candidates[0].finish_reason is types.FinishReason.STOP
    for usage in (whole.usage_metadata, chunks[-1].usage_metadata):
        assert usage.cached_content_token_count == CACHED_TOKENS
        assert usage.candidates_token_count == 4
    assert fake.received[1].target.endswith(":streamGenerateContent?alt=sse")


async def test_tools_are_called_signed_and_their_results_taken(models: Any) -> None:
    asked: Any = {"model": NEWEST, "config": config(tools=TOOLS)}
    said = await models.generate_content(contents="hi", **asked)
    assert [(c.name, c.args) for c in said.function_calls] == [
        ("weather", {"city": "Paris"}),
        ("time", {"city": "Paris"}),
    ]
    first = types.Content(role="user", parts=[types.Part(text="hi")])
    results = types.Content(
        role="user",
        parts=[
            types.Part.from_function_response(name=c.name, response={"output": "ok"})
            for c in said.function_calls
        ],
    )
    answer = said.candidates[0].content
    told = await models.generate_content(contents=[first, answer, results], **asked)
    assert told.text == TEXT
    with pytest.raises(errors.ClientError, match="equal"):
        await models.generate_content(contents=[first, answer, first], **asked)
    for part in answer.parts:
        part.thought_signature = None
    with pytest.raises(errors.ClientError, match="thought_signature"):
        await models.generate_content(contents=[first, answer, results], **asked)


async def test_it_thinks_writes_json_stops_and_counts(models: Any) -> None:
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_level="LOW")
    thought = await models.generate_content(
        model=NEWEST,
        contents="hi",
        config=config(
            thinking_config=thinking,
            response_mime_type="application/json",
            response_json_schema=SCHEMA,
        ),
    )
    parts = thought.candidates[0].content.parts
    assert (parts[0].text, parts[0].thought) == (THOUGHT, True)
    assert thought.text == JSON_TEXT
    assert thought.usage_metadata.thoughts_token_count == 3
    stopped = await models.generate_content(
        model=OLDER, contents="hi", config=config(stop_sequences=[" the"])
    )
    assert stopped.text == "Hello from"
    cut = await models.generate_content(
        model=OLDER, contents="hi", config=config(max_output_tokens=1)
    )
    assert cut.candidates[0].finish_reason is types.FinishReason.MAX_TOKENS
    counted = await models.count_tokens(model=OLDER, contents="hi")
    assert counted.total_tokens == 11


async def test_a_queued_talk_is_said_in_a_stream(models: Any, fake: FakeGemini) -> None:
    fake.say(Talk("Look here", "Hm, well", (Called("weather"),), "tool_calls"))
    parts = [
        part
        async for chunk in await models.generate_content_stream(
            model=NEWEST, contents="hi"
        )
        for part in chunk.candidates[0].content.parts
    ]
    said = [(part.text, bool(part.thought)) for part in parts if part.text]
    assert said == [("Hm,", True), (" well", True), ("Look", False), (" here", False)]
    assert [p.function_call.name for p in parts if p.function_call] == ["weather"]


async def test_it_embeds_one_and_many(models: Any, fake: FakeGemini) -> None:
    found = await models.embed_content(model=EMBEDS, contents=["a", "b"])
    assert [each.values for each in found.embeddings] == [[0.25, -0.5]] * 2
    small = await models.embed_content(
        model=EMBEDS, contents="a", config={"output_dimensionality": 1}
    )
    assert small.embeddings[0].values == [0.25]
    assert {r.target.rpartition(":")[2] for r in fake.received} == {
        "batchEmbedContents"
    }


async def test_it_lists_and_shows_its_models(models: Any) -> None:
    listed = [model.name async for model in await models.list()]
    assert listed == [f"models/{name}" for name in (OLDER, NEWEST, EMBEDS)]
    shown = await models.get(model=NEWEST)
    assert shown.input_token_limit == 1_048_576


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"frequency_penalty": 1}, 'Unknown name "frequencyPenalty"'),
        ({"generationConfig": {"max_tokens": 1}}, 'Unknown name "maxTokens"'),
        ({"contents": []}, "not specified"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "valid role"),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
    ],
)
async def test_it_refuses_what_the_real_one_refuses(
    fake: FakeGemini, body: dict[str, Any], said: str
) -> None:
    asked = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]} | body
    url = fake.url + fake.talk_path()
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=asked, headers={"x-goog-api-key": KEY}) as reply,
    ):
        assert reply.status == 400
        assert said in (await reply.json())["error"]["message"]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("fault", "error", "blame"),
    [
        ("bad_request", errors.ClientError, Blame.CALLER),
        ("too_long", errors.ClientError, Blame.CALLER),
        ("bad_key", errors.ClientError, Blame.KEY),
        ("no_credit", errors.ClientError, Blame.BROKEN),
        ("rate_limited", errors.ClientError, Blame.RATE),
        ("overloaded", errors.ServerError, Blame.OVERLOADED),
        ("broken", errors.ServerError, Blame.BROKEN),
    ],
)
async def test_its_faults_are_read_by_client_and_adapter(
    models: Any,
    fake: FakeGemini,
    fault: str,
    error: type[errors.APIError],
    blame: Blame,
    wrapped: bool,
) -> None:
    fake.wraps_errors = wrapped
    answer = fake.fault(fault)
    fake.script(fake.talk_path(), answer)
    with pytest.raises(error):
        await models.generate_content(model=OLDER, contents="hi")
    adapter = Gemini(Settings("p", fake.url, key=KEY))
    read = adapter.interpret(answer.status, (), answer.pieces[0])
    assert read.blame is blame
    assert read.exceeds_context is (fault == "too_long")
    assert read.retry_after_s == (7 if fault == "rate_limited" else None)


async def test_streams_break_in_three_ways(models: Any, fake: FakeGemini) -> None:
    async def read(fault: str) -> list[Any]:
        fake.script(fake.talk_path(stream=True), fake.fault(fault))
        stream = await models.generate_content_stream(model=OLDER, contents="hi")
        return [chunk.candidates[0].finish_reason async for chunk in stream]

    with pytest.raises(errors.APIError, match="overloaded"):
        await read("error_in_stream")
    with pytest.raises(Exception, match=r"peer closed|not completed"):
        await read("cut_in_stream")
    assert await read("unended") == [None, None]


async def test_a_blocked_prompt_has_no_answer(models: Any, fake: FakeGemini) -> None:
    fake.script(fake.talk_path(), fake.fault("blocked"))
    said = await models.generate_content(model=OLDER, contents="hi")
    assert said.candidates is None
    assert said.prompt_feedback.block_reason is types.BlockedReason.PROHIBITED_CONTENT
