"""What the gateway answers itself: its own responses, estimates, models to be loaded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import openai
import pytest

from proxy.core.types import ANYONE
from proxy.pipeline.order import Course
from proxy.pipeline.spine import Pipeline
from tests.fakes.anthropic import KEY, OLDER, FakeAnthropic
from tests.fakes.chat import FakeChat
from tests.fakes.gemini import FakeGemini
from tests.fakes.talk import TEXT, Talk
from tests.fakes.upstream import Answer
from tests.parts.http_text import post
from tests.parts.inside import MESSAGES, RESPONSES, Site, run_site
from tests.parts.scripts import ask

COUNT = f"{MESSAGES}/count_tokens"
TURN: dict[str, Any] = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Hello there, how are you?"}],
}


@pytest.fixture
async def chat() -> AsyncIterator[tuple[Site, FakeChat]]:
    """A gateway whose provider speaks chat alone."""
    fake = FakeChat(("tiny",))
    async with fake.serving():
        provider = {"kind": "openai-compatible", "endpoint": fake.url}
        async with run_site(provider=provider) as site:
            yield site, fake


def client(site: Site) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key="x", max_retries=0)


# -- responses ------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation_goes_on_from_its_last_response(
    chat: tuple[Site, FakeChat], stream: bool
) -> None:
    site, fake = chat
    responses = client(site).responses
    first: Any = await responses.create(model="tiny", input="one", stream=stream)
    if stream:
        first = [event async for event in first][-1].response
    assert first.output_text == TEXT
    second = await responses.create(
        model="tiny", input="two", previous_response_id=first.id
    )
    assert second.previous_response_id == first.id
    third = await responses.create(
        model="tiny",
        input=[{"role": "user", "content": "three"}],
        instructions="Be brief.",
        previous_response_id=second.id,
    )
    assert third.output_text == TEXT
    turns = [(t["role"], t["content"]) for t in fake.received[-1].json()["messages"]]
    assert turns == [
        ("system", "Be brief."),
        ("user", "one"),
        ("assistant", TEXT),
        ("user", "two"),
        ("assistant", TEXT),
        ("user", "three"),
    ]


async def test_a_response_is_read_and_deleted_like_any(
    chat: tuple[Site, FakeChat],
) -> None:
    site, fake = chat
    responses = client(site).responses
    made = await responses.create(model="tiny", input="one", metadata={"a": "b"})
    found = await responses.retrieve(made.id)
    assert found.to_dict() == made.to_dict()
    items = [item async for item in await responses.input_items.list(made.id)]
    [item] = items
    assert (item.type, item.to_dict()["content"]) == (
        "message",
        [{"type": "input_text", "text": "one"}],
    )
    with pytest.raises(openai.BadRequestError, match="background"):
        await responses.cancel(made.id)
    await responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        await responses.create(model="tiny", input="two", previous_response_id=made.id)
    assert len(fake.received) == 1


async def test_input_items_come_in_pages(chat: tuple[Site, FakeChat]) -> None:
    site, _ = chat
    items = [{"role": "user", "content": str(n)} for n in range(5)]
    body = {"model": "tiny", "input": items}
    made = json.loads((await site.ask(post(RESPONSES, json.dumps(body).encode()))).body)
    path = f"{RESPONSES}/{made['id']}/input_items"
    first = json.loads((await site.ask(ask("GET", f"{path}?order=asc&limit=2"))).body)
    assert [item["content"][0]["text"] for item in first["data"]] == ["0", "1"]
    assert first["has_more"]
    rest = f"{path}?order=asc&after={first['last_id']}"
    second = json.loads((await site.ask(ask("GET", rest))).body)
    assert [item["content"][0]["text"] for item in second["data"]] == ["2", "3", "4"]
    for query, param in (
        ("limit=0", "limit"),
        ("order=x", "order"),
        ("after=x", "after"),
    ):
        reply = await site.ask(ask("GET", f"{path}?{query}"))
        assert (reply.status, json.loads(reply.body)["error"]["param"]) == (400, param)


async def test_what_is_not_to_be_stored_is_not(chat: tuple[Site, FakeChat]) -> None:
    site, _ = chat
    made = await client(site).responses.create(model="tiny", input="one", store=False)
    with pytest.raises(openai.NotFoundError):
        await client(site).responses.retrieve(made.id)


async def test_nothing_runs_in_the_background(chat: tuple[Site, FakeChat]) -> None:
    site, fake = chat
    body = b'{"model":"tiny","input":"one","background":true}'
    reply = await site.ask(post(RESPONSES, body))
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["code"], error["param"]) == (
        400,
        "unsupported_parameter",
        "background",
    )
    assert not fake.received


async def test_a_response_goes_on_where_responses_are_spoken_too(
    chat: tuple[Site, FakeChat],
) -> None:
    site, fake = chat
    made = await client(site).responses.create(model="tiny", input="one")
    runtime = site.runtime
    native = FakeChat(("tiny",))
    async with (
        native.serving(),
        run_site(provider={"kind": "vllm", "endpoint": native.url}) as other,
    ):
        other.runtime.translator.talks.store = runtime.translator.talks.store
        await client(other).responses.create(
            model="tiny", input="two", previous_response_id=made.id
        )
    sent = native.received[-1]
    assert sent.target == RESPONSES
    assert "previous_response_id" not in sent.json()
    assert len(sent.json()["input"]) == 3
    assert len(fake.received) == 1


# -- tokens ------------------------------------------------------------------------------


async def test_tokens_are_estimated_where_nobody_counts(
    chat: tuple[Site, FakeChat],
) -> None:
    site, fake = chat
    reply = await site.ask(post(COUNT, json.dumps(TURN).encode()))
    assert reply.status == 200
    assert json.loads(reply.body) == {"input_tokens": 11}
    assert reply.header("x-proxy-applied") == "input_tokens=estimated"
    assert not fake.received


async def test_tokens_are_estimated_where_the_route_is_missing_or_down() -> None:
    fake = FakeAnthropic()
    headers = {"x-api-key": KEY}
    provider = {"kind": "anthropic", "endpoint": fake.url, "headers": headers}
    model = {"id": "tiny", "providerId": "box", "upstreamModel": OLDER}
    async with fake.serving():
        provider["endpoint"] = fake.url
        async with run_site(provider=provider, models=[model]) as site:
            for status in (404, 500, 529):
                fake.script(COUNT, Answer.of({"error": {"message": "no"}}, status))
                reply = await site.ask(post(COUNT, json.dumps(TURN).encode()))
                assert json.loads(reply.body) == {"input_tokens": 11}
            [box] = site.runtime.registry.providers
            assert box.usable
            reply = await site.ask(post(COUNT, json.dumps(TURN).encode()))
            assert reply.header("x-proxy-applied") is None
            reply = await site.ask(post(COUNT, b'{"model":"none","messages":[]}'))
            assert reply.status == 404
            # Thoughts of another vendor's model would be refused.
            thought = {
                "type": "thinking",
                "thinking": "",
                "signature": "x-local-ai:gemini:s",
            }
            turns = [*TURN["messages"], {"role": "assistant", "content": [thought]}]
            body = json.dumps({**TURN, "messages": turns}).encode()
            reply = await site.ask(post(COUNT, body))
            assert reply.header("x-proxy-applied") == "input_tokens=estimated"


async def test_gemini_counts_for_others() -> None:
    fake = FakeGemini()
    provider: dict[str, Any] = {"kind": "gemini"}
    model = {"id": "tiny", "providerId": "box", "upstreamModel": "gemini-2.5-flash"}
    async with fake.serving():
        provider |= {"endpoint": fake.url, "headers": {"x-goog-api-key": "AIza-fake"}}
        async with run_site(provider=provider, models=[model]) as site:
            reply = await site.ask(post(COUNT, json.dumps(TURN).encode()))
            assert json.loads(reply.body) == {"input_tokens": 11}
            assert reply.header("x-proxy-applied") is None
            [sent] = fake.received
            assert sent.target.endswith(":countTokens")


# -- loading ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_a_model_is_loaded_without_ado(
    chat: tuple[Site, FakeChat], path: str
) -> None:
    site, fake = chat
    reply = await site.ask(post(path, b'{"model":"tiny"}'))
    found = json.loads(reply.body)
    assert (found["done"], found["done_reason"]) == (True, "load")
    assert not fake.received
    reply = await site.ask(post(path, b'{"model":"none"}'))
    assert reply.status == 404
    assert "none" in json.loads(reply.body)["error"]


async def test_one_prompt_is_generated_from(chat: tuple[Site, FakeChat]) -> None:
    site, fake = chat
    fake.say(Talk("Yes."))
    body = b'{"model":"tiny","prompt":"Well?","system":"Be brief.","stream":false}'
    found = json.loads((await site.ask(post("/api/generate", body))).body)
    assert (found["response"], found["done"]) == ("Yes.", True)
    reply = await site.ask(post("/api/generate", b'{"model":"tiny","prompt":"Well?"}'))
    assert reply.header("content-type") == "application/x-ndjson"
    lines = [json.loads(line) for line in reply.body.splitlines()]
    assert "".join(line["response"] for line in lines) == TEXT
    assert lines[-1]["done"]


async def test_what_a_key_may_not_use_is_not_answered_here_either(
    chat: tuple[Site, FakeChat], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, fake = chat
    begin = Pipeline._begin

    def as_somebody(pipeline: Pipeline, *call: Any) -> Course:
        course = begin(pipeline, *call)
        course.principal = replace(ANYONE, models=("other*",))
        return course

    monkeypatch.setattr(Pipeline, "_begin", as_somebody)
    for path, body in (
        (COUNT, TURN),
        ("/api/chat", {"model": "tiny"}),
        ("/api/generate", {"model": "tiny"}),
        ("/v1/embeddings", {"model": "tiny", "input": "a"}),
    ):
        reply = await site.ask(post(path, json.dumps(body).encode()))
        assert reply.status == 403, path
    assert not fake.received
