"""The official ollama client with its host set to the gateway, at a llama.cpp server.

What it asks is translated, both ways, by either door.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import ollama
import pytest

from tests.parts.doors import PLACES, by_door, model_calls
from tests.parts.gateway import Gateway

ASK = [{"role": "user", "content": "Say something."}]
STEADY = {"temperature": 0, "seed": 7, "num_predict": 8}


@pytest.fixture(params=PLACES[1:])
def running(
    request: pytest.FixtureRequest, served: Gateway, served_ordinarily: Gateway
) -> Iterator[Gateway]:
    place = {PLACES[1]: served, PLACES[2]: served_ordinarily}[request.param]
    with by_door(request.param, place, lambda: model_calls(place)):
        yield place


def test_chat_streams_what_the_whole_answer_says(running: Gateway) -> None:
    client = ollama.Client(host=running.url)
    whole = client.chat(model="tiny", messages=ASK, options=STEADY)
    parts = list(client.chat(model="tiny", messages=ASK, options=STEADY, stream=True))
    text = "".join(part.message.content or "" for part in parts)
    assert text == whole.message.content
    assert (whole.done_reason, parts[-1].done_reason) == ("length", "length")
    assert whole.eval_count == parts[-1].eval_count == 8
    assert whole.prompt_eval_count == parts[-1].prompt_eval_count


def test_generate_and_embed(running: Gateway) -> None:
    client = ollama.Client(host=running.url)
    parts = client.generate(model="tiny", prompt="One.", options=STEADY, stream=True)
    *_, last = parts
    assert last.done
    vectors = client.embed(model="tiny-embed", input=["a", "b"]).embeddings
    assert len(vectors) == 2
    assert len(vectors[0]) == len(vectors[1]) > 8


def test_models_are_listed_and_shown(served: Gateway) -> None:
    client = ollama.Client(host=served.url)
    names = [model.model for model in client.list().models]
    assert {"tiny", "tiny-embed"} <= set(names)
    shown = client.show("tiny")
    assert "completion" in (shown.capabilities or ())
    assert any(key.endswith(".context_length") for key in shown.modelinfo or ())
    assert [model.model for model in client.ps().models]
    with pytest.raises(ollama.ResponseError, match="/ollama/api/pull"):
        client.pull("tiny")


@pytest.mark.parametrize("path", ["/", "/api/version"])
def test_who_looks_whether_it_is_there_is_answered(served: Gateway, path: str) -> None:
    request = urllib.request.Request(served.url + path, method="HEAD")
    with urllib.request.urlopen(request, timeout=10) as reply:
        assert reply.status == 200
        assert reply.read() == b""
    with urllib.request.urlopen(served.url + "/api/version", timeout=10) as reply:
        assert json.load(reply)["version"].count(".") == 2
