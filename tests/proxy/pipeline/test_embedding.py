"""Embeddings of every caller, of every provider."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.fakes.gemini import EMBEDS, FakeGemini
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai import FakeOpenAI
from tests.fakes.upstream import Answer
from tests.parts.http_text import post
from tests.parts.inside import Site, run_site

PATH = "/v1/embeddings"
KINDS: dict[str, tuple[Any, str]] = {
    "openai-compatible": (FakeOpenAI, "fake-model"),
    "gemini": (FakeGemini, EMBEDS),
    "ollama": (FakeOllama, "nomic-embed-text:latest"),
}


@pytest.fixture(params=KINDS)
async def placed(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Site, Any]]:
    make, name = KINDS[request.param]
    fake = make()
    model = {"id": "tiny", "providerId": "box", "upstreamModel": name}
    async with fake.serving():
        provider = {
            "kind": request.param,
            "endpoint": fake.url,
            "headers": {"x-goog-api-key": "AIza-fake"},
        }
        async with run_site(provider=provider, models=[model]) as site:
            yield site, fake


async def found(site: Site, path: str, **body: Any) -> Any:
    reply = await site.ask(post(path, json.dumps({"model": "tiny", **body}).encode()))
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


async def test_openais_shape_comes_out_of_all(placed: tuple[Site, Any]) -> None:
    site, _ = placed
    client = openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key="x", max_retries=0)
    made = await client.embeddings.create(
        model="tiny", input=["a", "b"], encoding_format="float"
    )
    assert [row.index for row in made.data] == [0, 1]
    assert len(made.data[0].embedding) >= 2
    record = await site.record()
    assert (record.prompt_tokens or 0) == made.usage.prompt_tokens


async def test_ollamas_shapes_come_out_of_all(placed: tuple[Site, Any]) -> None:
    site, fake = placed
    answer = await found(site, "/api/embed", input=["a", "b"])
    assert len(answer["embeddings"]) == 2
    if not isinstance(fake, FakeOllama):  # that fake has no such path
        answer = await found(site, "/api/embeddings", prompt="a")
        assert len(answer["embedding"]) >= 2


async def test_options_of_ollama_choose_its_own_api(placed: tuple[Site, Any]) -> None:
    site, fake = placed
    if not isinstance(fake, FakeOllama):
        return
    answer = await found(site, PATH, input="a", options={"num_ctx": 99})
    assert answer["data"][0]["embedding"] == [0.25, -0.5]
    assert fake.received[-1].target == "/api/embed"
    packed = await found(site, PATH, input="a", truncate=True, encoding_format="base64")
    assert packed["data"][0]["embedding"] == "AACAPgAAAL8="
    fake.script("/api/embed", Answer.of({"embeddings": []}))
    body = {"model": "tiny", "input": "a", "options": {}}
    reply = await site.ask(post(PATH, json.dumps(body).encode()))
    assert reply.status == 502
