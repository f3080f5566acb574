from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest

from providers.wire.embeddings import (
    Vectors,
    Wanted,
    read_reply,
    read_request,
    write_gemini,
    write_ollama,
    write_openai,
    write_reply,
)
from providers.wire.translate.problems import Refused, UnsupportedParameter
from providers.wire.usage import Usage


def wanted(operation: str = "embeddings", **body: Any) -> Wanted:
    return read_request(operation, {"model": "m", **body})


def test_inputs_are_texts_or_tokens() -> None:
    assert wanted(input="a").inputs == ("a",)
    assert wanted(input=["a", "b"]).inputs == ("a", "b")
    assert wanted(input=[1, 2]).inputs == ([1, 2],)
    assert wanted(input=[[1], [2, 3]]).inputs == ([1], [2, 3])
    assert wanted("ollama_embeddings", prompt="a").inputs == ("a",)
    assert wanted("ollama_embeddings").inputs == ()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": ["a", 7]}, "input[1]"),
        ({"input": [[]]}, "input[0]"),
        ({"input": [True]}, "input[0]"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_the_field_at_fault_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(Refused) as caught:
        wanted(**body)
    assert caught.value.param == param


def test_each_dialect_is_written() -> None:
    asked = wanted(input=["a", "b"], dimensions=3, truncate=True, user="u")
    body, left = write_openai(asked, "x")
    assert body == {"model": "x", "input": ["a", "b"], "dimensions": 3}
    assert left == ["truncate", "user"]
    body, left = write_ollama(asked, "x")
    assert body["truncate"] is True
    assert left == ["user"]
    body, left = write_gemini(asked, "x")
    assert left == ["truncate", "user"]
    assert body["requests"][1] == {
        "model": "models/x",
        "content": {"parts": [{"text": "b"}]},
        "outputDimensionality": 3,
    }


@pytest.mark.parametrize("write", [write_ollama, write_gemini])
def test_tokens_are_refused_where_only_texts_are_taken(write: Any) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        write(wanted(input=[1, 2]), "x")
    assert caught.value.param == "input"


FLOATS = [0.25, -0.5]
PACKED = base64.b64encode(struct.pack("<2f", *FLOATS)).decode()


@pytest.mark.parametrize(
    "document",
    [
        {"data": [{"index": 0, "embedding": FLOATS}], "usage": {"prompt_tokens": 7}},
        {"data": [{"index": 0, "embedding": PACKED}], "usage": {"prompt_tokens": 7}},
        {"embeddings": [FLOATS], "prompt_eval_count": 7},
        {"embeddings": [{"values": FLOATS}], "usageMetadata": {"promptTokenCount": 7}},
    ],
)
def test_each_dialect_is_read(document: dict[str, Any]) -> None:
    found = read_reply(orjson.dumps(document))
    assert found == Vectors((FLOATS,), Usage(prompt=7, completion=0))


def test_vectors_come_in_the_order_of_their_inputs() -> None:
    rows = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    assert read_reply(orjson.dumps({"data": rows})) == Vectors(([1.0], [2.0]))


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b'{"data":[{}]}', b'{"embeddings":[7]}']
)
def test_another_shape_is_none(body: bytes) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        read_reply(body)


def test_each_caller_is_answered() -> None:
    vectors = Vectors((FLOATS,), Usage(prompt=7))
    asked = wanted(input="a")
    found = write_reply("embeddings", vectors, asked, "x")
    assert found["data"] == [{"object": "embedding", "index": 0, "embedding": FLOATS}]
    assert found["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    packed = wanted(input="a", encoding_format="base64")
    found = write_reply("embeddings", vectors, packed, "x")
    assert found["data"][0]["embedding"] == PACKED
    found = write_reply("ollama_embed", vectors, asked, "x", 5)
    assert (found["embeddings"], found["total_duration"]) == ([FLOATS], 5)
    old = write_reply("ollama_embeddings", vectors, asked, "x")
    assert old == {"embedding": FLOATS}
    none = Vectors(())
    assert write_reply("ollama_embeddings", none, asked, "x") == {"embedding": []}
