"""The official lmstudio client, by WebSocket pass-through at /lmstudio."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import lmstudio
import pytest

from tests.fakes.lmstudio import FakeLMStudio
from tests.fakes.talk import TEXT
from tests.parts.inside import Site, run_site

MODEL = "qwen/qwen3-4b"


@pytest.fixture
async def place() -> AsyncIterator[tuple[Site, FakeLMStudio]]:
    fake = FakeLMStudio(loaded=(MODEL,))
    async with fake.serving():
        provider = {"kind": "lmstudio", "endpoint": fake.url}
        async with run_site(provider=provider) as site:
            yield site, fake


async def test_it_finds_a_model_and_talks(place: tuple[Site, FakeLMStudio]) -> None:
    site, fake = place
    host = site.url.removeprefix("http://") + "/lmstudio"
    async with lmstudio.AsyncClient(host) as client:
        listed = await client.llm.list_loaded()
        assert [model.identifier for model in listed] == [MODEL]
        model = await client.llm.model(MODEL)
        whole = await model.respond("hi")
        assert whole.content == TEXT
        assert whole.stats.predicted_tokens_count == 4
        stream = await model.respond_stream("hi")
        parts = [part.content async for part in stream]
        assert len(parts) == 4
        assert "".join(parts) == TEXT
    sent = [json.loads(message) for message in fake.messages]
    asked = [one["endpoint"] for one in sent if "endpoint" in one]
    assert asked[-2:] == ["predict", "predict"]
    record = await site.record()
    assert record.provider == "box"
    assert 101 in {one.status for one in site.records}
