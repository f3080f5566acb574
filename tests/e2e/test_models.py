"""GET /v1/models through the gateway, in both SDKs' shapes."""

from __future__ import annotations

import anthropic
import openai
import pytest

from tests.parts.gateway import Gateway


@pytest.fixture
def client(served: Gateway) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0)


def test_models_of_all_providers_are_listed(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"tiny", "tiny-embed"}


def test_a_listed_model_says_what_it_is(client: openai.OpenAI) -> None:
    model = client.models.retrieve("tiny")
    assert model.id == "tiny"
    assert model.object == "model"
    extra = model.model_extra or {}
    assert extra["provider"] == "llama"
    assert extra["context_window"] == 131072
    assert extra["status"] in {"warm", "cold", "loading", "unavailable"}


def test_models_of_one_provider(client: openai.OpenAI) -> None:
    listed = client.models.list(extra_query={"provider": "llama-embed"})
    assert [model.id for model in listed] == ["tiny-embed"]


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no-such-model")
    assert caught.value.code == "model_not_found"


def test_anthropics_shape_for_anthropics_client(served: Gateway) -> None:
    client = anthropic.Anthropic(base_url=served.url, api_key="unused", max_retries=0)
    models = {model.id: model for model in client.models.list()}
    assert set(models) == {"tiny", "tiny-embed"}
    assert models["tiny"].type == "model"
    assert models["tiny"].display_name
    assert client.models.retrieve("tiny").id == "tiny"


def test_the_same_model_by_its_provider(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="llama/tiny", messages=[{"role": "user", "content": "Hi"}], max_tokens=2
    )
    assert reply.choices[0].finish_reason == "length"
