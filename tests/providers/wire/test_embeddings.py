"""Embeddings from any caller's dialect into any provider's, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.wire.dialect import Dialect
from providers.wire.embeddings import (
    CALLERS,
    PROVIDERS,
    Embedded,
    Unreadable,
    read_ollama,
    read_openai,
    to_base64,
    write_gemini,
    write_ollama,
    write_openai,
)
from providers.wire.translate.problems import (
    InvalidField,
    InvalidJSON,
    MissingField,
    Refused,
    UnsupportedParameter,
)

VECTORS = [[0.25, -0.5], [1.0, 2.0]]
TOLD = {
    Dialect.CHAT: {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 1, "embedding": VECTORS[1]},
            {"object": "embedding", "index": 0, "embedding": VECTORS[0]},
        ],
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    },
    Dialect.OLLAMA: {"model": "m", "embeddings": VECTORS, "prompt_eval_count": 7},
    Dialect.GEMINI: {
        "embeddings": [{"values": vector} for vector in VECTORS],
        "usageMetadata": {"promptTokenCount": 7},
    },
}
every_provider = pytest.mark.parametrize("provider", PROVIDERS)


@every_provider
@pytest.mark.parametrize("caller", CALLERS)
def test_every_caller_gets_the_vectors_of_every_provider(
    caller: Dialect, provider: Dialect
) -> None:
    asked = CALLERS[caller].read_request({"model": "m", "input": ["a", "b"]})
    embedded = PROVIDERS[provider].read_reply(json.dumps(TOLD[provider]).encode())
    told = CALLERS[caller].write_reply(embedded, asked)
    if caller is Dialect.OLLAMA:
        assert told == TOLD[Dialect.OLLAMA]
        return
    assert [entry["embedding"] for entry in told["data"]] == VECTORS
    assert [entry["index"] for entry in told["data"]] == [0, 1]
    assert (told["model"], told["usage"]["total_tokens"]) == ("m", 7)


def test_a_request_is_written_for_each_provider() -> None:
    asked = read_openai(
        {"model": "m", "input": "a", "dimensions": 5, "user": "u", "odd": 1}
    )
    assert write_openai(asked, "up").body == {
        "model": "up",
        "input": ["a"],
        "dimensions": 5,
        "user": "u",
    }
    assert write_openai(asked, "up").dropped == ("odd",)
    ollama = write_ollama(asked, "up")
    assert ollama.body == {"model": "up", "input": ["a"], "dimensions": 5}
    assert ollama.dropped == ("odd", "user")
    gemini = write_gemini(asked, "up")
    assert gemini.body == {
        "requests": [
            {
                "model": "models/up",
                "outputDimensionality": 5,
                "content": {"parts": [{"text": "a"}]},
            }
        ]
    }
    assert gemini.dropped == ("odd", "user")


def test_ollamas_own_members_stay_with_ollama() -> None:
    own = {"options": {"num_ctx": 1}, "keep_alive": 0, "truncate": False}
    for read in (read_openai, read_ollama):
        asked = read({"model": "m", "input": "a", **own})
        assert write_ollama(asked, "m").body == {"model": "m", "input": ["a"], **own}
        assert write_ollama(asked, "m").dropped == ()
        assert set(write_gemini(asked, "m").dropped) == set(own)


def test_vectors_come_in_base64_when_asked_for() -> None:
    asked = read_openai({"model": "m", "input": "a", "encoding_format": "base64"})
    told = CALLERS[Dialect.CHAT].write_reply(Embedded(((0.25, -0.5),)), asked)
    [entry] = told["data"]
    assert entry["embedding"] == to_base64((0.25, -0.5)) == "AACAPgAAAL8="
    body = json.dumps(told).encode()
    read = PROVIDERS[Dialect.CHAT].read_reply(body)
    assert read.vectors == ((0.25, -0.5),)


def test_ollamas_older_route_has_one_prompt_and_one_vector() -> None:
    asked = read_ollama({"model": "m", "prompt": "a"})
    assert (asked.inputs, asked.single) == (("a",), True)
    told = CALLERS[Dialect.OLLAMA].write_reply(Embedded(((1.0,),)), asked)
    assert told == {"embedding": [1.0]}


@pytest.mark.parametrize(
    ("body", "problem", "param"),
    [
        ({"model": "m"}, MissingField, "input"),
        ({"input": "a"}, MissingField, "model"),
        ({"model": "m", "input": []}, InvalidField, "input"),
        ({"model": "m", "input": ["a", None]}, InvalidField, "input[1]"),
        ({"model": "m", "input": {}}, InvalidField, "input"),
        ({"model": "m", "input": [1, 2]}, UnsupportedParameter, "input"),
        ({"model": "m", "input": [[1], [2]]}, UnsupportedParameter, "input"),
        ({"model": "m", "input": "a", "dimensions": 0}, InvalidField, "dimensions"),
        (
            {"model": "m", "input": "a", "encoding_format": "hex"},
            InvalidField,
            "encoding_format",
        ),
        (b"[]", InvalidJSON, None),
    ],
)
def test_a_wrong_request_names_the_field(
    body: Any, problem: type[Refused], param: str | None
) -> None:
    with pytest.raises(problem) as refused:
        read_openai(body)
    assert refused.value.param == param


@every_provider
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data":{},"embeddings":{}}',
        b'{"data":[{"embedding":["x"]}],"embeddings":["x"]}',
        b'{"data":[{"embedding":[true]}],"embeddings":[[true]]}',
        b'{"data":[{"embedding":"AAA="}],"embeddings":[{"values":"AAA="}]}',
        b'{"data":[{}],"embeddings":[{}]}',
        b"\xff",
    ],
)
def test_a_reply_without_vectors_is_unreadable(provider: Dialect, body: bytes) -> None:
    with pytest.raises(Unreadable):
        PROVIDERS[provider].read_reply(body)


@every_provider
def test_counts_of_an_odd_shape_are_not_known(provider: Dialect) -> None:
    odd: dict[str, Any] = {
        "data": [],
        "embeddings": [],
        "usage": 5,
        "usageMetadata": {"promptTokenCount": -1},
        "prompt_eval_count": "7",
        "model": 5,
    }
    read = PROVIDERS[provider].read_reply(json.dumps(odd).encode())
    assert read == Embedded(())
