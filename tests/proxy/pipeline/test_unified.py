"""POST /llm: what it takes, what it refuses, and how it answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxy.core.errors import CallerFault
from proxy.pipeline.unified import read_wish
from tests.fakes.anthropic import KEY, OLDER, FakeAnthropic
from tests.fakes.chat import FakeChat
from tests.fakes.talk import TEXT
from tests.parts.http_text import Message, data_of, events, post
from tests.parts.inside import Site, run_site

HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
async def both() -> AsyncIterator[tuple[Site, FakeChat, FakeAnthropic]]:
    """A gateway before a server at home and Anthropic."""
    home, cloud = FakeChat(("tiny", "nomic-embed")), FakeAnthropic()
    async with home.serving(), cloud.serving():
        there = {
            "id": "cloud",
            "kind": "anthropic",
            "endpoint": cloud.url,
            "headers": {"x-api-key": KEY},
        }
        async with run_site(
            provider={"kind": "openai-compatible", "endpoint": home.url},
            others=[there],
            models=[
                {"id": "tiny", "providerId": "box"},
                {"id": "nomic-embed", "providerId": "box"},
                {"id": "claude", "providerId": "cloud", "upstreamModel": OLDER},
            ],
            embeddings={"substitutes": {"anthropic": "nomic-embed"}},
        ) as site:
            yield site, home, cloud


async def llm(site: Site, **body: Any) -> Message:
    return await site.ask(post("/llm", json.dumps(body).encode()))


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_field", "model"),
        ({"model": "m"}, "missing_field", "messages"),
        ({"model": "m", "messages": []}, "invalid_field", "messages"),
        ({"model": "m", "messages": "hi"}, "invalid_field", "messages"),
        ({"model": "m", "messages": [{}]}, "missing_field", "messages[0].role"),
        (
            {"model": "m", "messages": [{"role": "king"}]},
            "invalid_field",
            "messages[0].role",
        ),
        ({"type": "poem"}, "invalid_field", "type"),
        ({"type": 7}, "invalid_field", "type"),
        ({"model": ""}, "invalid_field", "model"),
        ({"provider": ""}, "invalid_field", "provider"),
        ({"model": "m", "temperature": 1}, "invalid_field", "temperature"),
        (
            {"model": "m", "messages": HI, "options": {"temperature": 2.1}},
            "invalid_field",
            "options.temperature",
        ),
        (
            {"model": "m", "messages": HI, "options": {"max_tokens": 0}},
            "invalid_field",
            "options.max_tokens",
        ),
        ({"model": "m", "messages": HI, "options": 7}, "invalid_field", "options"),
        ({"type": "embeddings", "model": "m"}, "missing_field", "input"),
        ({"type": "embeddings", "model": "m", "input": ""}, "invalid_field", "input"),
        ({"type": "embeddings", "model": "m", "input": []}, "invalid_field", "input"),
        (
            {"type": "embeddings", "model": "m", "input": ["a", ""]},
            "invalid_field",
            "input",
        ),
        ({"type": "embeddings", "model": "m", "input": 7}, "invalid_field", "input"),
    ],
)
def test_the_field_at_fault_is_named(
    body: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(CallerFault) as caught:
        read_wish(body)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_options_belong_to_the_request() -> None:
    options = {"temperature": 0.5, "max_tokens": 9, "stream": True}
    wish = read_wish({"model": "m", "messages": HI, "options": options})
    assert wish.body == {"messages": HI, **options}
    wish = read_wish({"model": "m", "messages": HI, "stream": True})
    assert wish.body == {"messages": HI, "stream": True}


@pytest.mark.parametrize("provider", ["cloud", "anthropic"])
async def test_a_provider_is_named_by_id_or_kind(
    both: tuple[Site, FakeChat, FakeAnthropic], provider: str
) -> None:
    site, _, _ = both
    for model in (OLDER, "claude"):
        reply = await llm(site, provider=provider, model=model, messages=HI)
        found = json.loads(reply.body)
        assert found["provider"] == "cloud"
        assert found["choices"][0]["message"]["content"] == TEXT


async def test_without_a_provider_the_model_decides(
    both: tuple[Site, FakeChat, FakeAnthropic],
) -> None:
    site, home, _ = both
    for model, provider in (("tiny", "box"), ("claude", "cloud")):
        found = json.loads((await llm(site, model=model, messages=HI)).body)
        assert (found["object"], found["provider"]) == ("chat.completion", provider)
    assert home.received[-1].json() == {"messages": HI, "model": "tiny"}


async def test_a_model_need_not_be_listed(
    both: tuple[Site, FakeChat, FakeAnthropic],
) -> None:
    site, home, _ = both
    home.models = ("tiny", "unlisted")
    reply = await llm(site, provider="box", model="unlisted", messages=HI)
    assert json.loads(reply.body)["provider"] == "box"
    assert home.received[-1].json()["model"] == "unlisted"


async def test_a_stream_is_one_of_chat(
    both: tuple[Site, FakeChat, FakeAnthropic],
) -> None:
    site, _, _ = both
    for model, provider in (("tiny", "box"), ("claude", "cloud")):
        reply = await llm(
            site, model=model, messages=HI, options={"stream": True, "max_tokens": 99}
        )
        *chunks, done = events(reply.body)
        assert done == b"data: [DONE]\n\n"
        said: list[Any] = [data_of(chunk) for chunk in chunks]
        text = "".join(c["choices"][0]["delta"].get("content") or "" for c in said)
        assert text == TEXT
        assert {chunk["provider"] for chunk in said} == {provider}
        assert reply.header("x-proxy-provider") == provider


async def test_who_is_not_there_is_not_configured(
    both: tuple[Site, FakeChat, FakeAnthropic],
) -> None:
    site, _, _ = both
    reply = await llm(site, provider="gemini", model="m", messages=HI)
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["code"], error["param"]) == (
        501,
        "not_configured",
        "provider",
    )


async def test_models_are_listed(both: tuple[Site, FakeChat, FakeAnthropic]) -> None:
    site, _, _ = both
    found = json.loads((await llm(site, type="models")).body)
    ids = {entry["id"] for entry in found["data"]}
    assert {"tiny", "claude"} <= ids
    found = json.loads((await llm(site, type="models", provider="anthropic")).body)
    assert found["provider"] == "cloud"
    assert {entry["provider"] for entry in found["data"]} == {"cloud"}


@pytest.mark.parametrize("path", ["/llm", "/v1/embeddings"])
async def test_who_has_no_embeddings_is_substituted_for(
    both: tuple[Site, FakeChat, FakeAnthropic], path: str
) -> None:
    site, home, _ = both
    body: dict[str, Any] = {"model": "claude", "input": ["a"]}
    if path == "/llm":
        body["type"] = "embeddings"
    reply = await site.ask(post(path, json.dumps(body).encode()))
    assert reply.status == 200, reply.body
    assert reply.header("x-proxy-applied") == "model=nomic-embed"
    assert home.received[-1].json() == {"model": "nomic-embed", "input": ["a"]}
    # Who asks that model itself is told of nothing.
    body["model"] = "nomic-embed"
    reply = await site.ask(post(path, json.dumps(body).encode()))
    assert reply.header("x-proxy-applied") is None


async def test_without_a_substitute_those_that_can_are_named() -> None:
    cloud = FakeAnthropic()
    model = {"id": "claude", "providerId": "box", "upstreamModel": OLDER}
    embeds = {
        "id": "nomic",
        "providerId": "box",
        "capabilities": {"embeddings": True},
    }
    async with cloud.serving():
        provider = {"kind": "anthropic", "endpoint": cloud.url}
        async with run_site(provider=provider, models=[model, embeds]) as site:
            body = b'{"model":"claude","input":"a"}'
            reply = await site.ask(post("/v1/embeddings", body))
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["code"]) == (400, "unsupported_operation")
    assert "`nomic`" in error["message"]
