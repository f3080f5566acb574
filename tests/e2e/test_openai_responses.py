"""The official openai SDK: responses, embeddings and models."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator

import openai
import pytest


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with _client(base_url) as client:
        yield client


@pytest.fixture
def embedder(embed_base_url: str) -> Iterator[openai.OpenAI]:
    with _client(embed_base_url) as client:
        yield client


def test_response_whole(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="tiny", input="Hello", max_output_tokens=5)
    assert reply.object == "response"
    assert reply.status == "completed"
    assert reply.output_text
    assert reply.usage is not None
    assert reply.usage.output_tokens == 5


def test_response_stream(client: openai.OpenAI) -> None:
    events = list(
        client.responses.create(
            model="tiny", input="Hello", max_output_tokens=5, stream=True
        )
    )
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    deltas = [
        event.delta for event in events if event.type == "response.output_text.delta"
    ]
    assert events[-1].type == "response.completed"
    assert "".join(deltas) == events[-1].response.output_text


def test_a_stateless_server_does_not_know_its_responses(client: openai.OpenAI) -> None:
    made = client.responses.create(model="tiny", input="Hello", max_output_tokens=2)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_embeddings_as_floats(embedder: openai.OpenAI) -> None:
    reply = embedder.embeddings.create(
        model="tiny-embed", input=["one", "two"], encoding_format="float"
    )
    assert [item.index for item in reply.data] == [0, 1]
    assert [len(item.embedding) for item in reply.data] == [32, 32]
    assert reply.data[0].embedding != reply.data[1].embedding


def test_embeddings_as_base64_are_the_same_numbers(embedder: openai.OpenAI) -> None:
    floats = embedder.embeddings.create(
        model="tiny-embed", input="one", encoding_format="float"
    )
    # The SDK decodes base64 only where it chose that itself: read the reply raw.
    raw = embedder.embeddings.with_raw_response.create(
        model="tiny-embed", input="one", encoding_format="base64"
    )
    packed = base64.b64decode(json.loads(raw.text)["data"][0]["embedding"])
    assert struct.unpack("<32f", packed) == pytest.approx(floats.data[0].embedding)


def test_embeddings_in_the_sdks_own_choice_of_format(embedder: openai.OpenAI) -> None:
    reply = embedder.embeddings.create(model="tiny-embed", input="one")
    assert len(reply.data[0].embedding) == 32


def test_embeddings_of_token_lists(embedder: openai.OpenAI) -> None:
    reply = embedder.embeddings.create(
        model="tiny-embed", input=[[72, 73], [74]], encoding_format="float"
    )
    assert len(reply.data) == 2


def test_models_are_listed(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert models["tiny"].object == "model"
    assert models["tiny"].owned_by == "llamacpp"


def _client(url: str) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=20
    )
