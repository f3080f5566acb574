from __future__ import annotations

import json

import pytest

from providers.base import FoundModel, ProbeReply
from providers.listing import (
    context,
    read_entries,
    read_model,
    read_models,
    text,
    texts,
    whole,
)


def reply(value: object, status: int = 200) -> ProbeReply:
    return ProbeReply(status, json.dumps(value).encode())


def test_an_empty_list_is_a_list_and_null_is_an_empty_one() -> None:
    assert read_entries(reply({"data": []}), "data") == []
    assert read_entries(reply({"object": "list", "data": None}), "data") == []
    assert read_entries(reply({"models": None}), "models") == []


def test_what_is_no_list_is_none() -> None:
    for value in ({}, [], {"data": "x"}, {"data": [1, 2]}, {"data": [], "error": "no"}):
        assert read_entries(reply(value), "data") is None
    assert read_entries(reply({"data": []}, 500), "data") is None
    assert read_entries(None, "data") is None


def test_one_bad_entry_does_not_hide_the_others() -> None:
    entries = [
        {"id": 5},
        {"id": "a"},
        {"id": ""},
        {"id": "a", "created": 9},
        {"id": "x\ny"},
    ]
    assert read_models(entries, read_model) == (FoundModel("a"),)
    assert read_models([{"id": 5}], read_model) is None


def test_fields_of_the_wrong_type_count_as_absent() -> None:
    entry = {
        "id": "m",
        "created": "yesterday",
        "owned_by": 7,
        "max_model_len": -1,
        "context_length": True,
        "architecture": "big",
        "supported_parameters": {"tools": 1},
    }
    assert read_model(entry) == FoundModel("m")


def test_what_servers_add_is_read() -> None:
    model = read_model({
        "id": "m",
        "created": 1.0,
        "context_length": 8192,
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
        "supported_parameters": ["tools", "response_format", "seed"],
    })  # fmt: skip
    assert model == FoundModel(
        "m",
        created=1,
        context_window=8192,
        kind="chat",
        inputs=("text", "image"),
        capabilities=frozenset({"functionCalling", "jsonMode", "vision"}),
    )


def test_an_embedding_model_is_known_by_its_output() -> None:
    found = read_model(
        {"id": "e", "architecture": {"output_modalities": ["embeddings"]}}
    )
    assert found is not None
    assert found.kind == "embeddings"


def test_the_loaded_context_goes_before_the_greatest_possible() -> None:
    assert context({"max_context_length": 9, "loaded_context_length": 4}) == 4
    assert context({"max_model_len": 0, "context_window": 5}) == 5
    assert context({}) is None


@pytest.mark.parametrize(
    "value", [None, True, -1, 1.5, float("nan"), float("inf"), "3", []]
)
def test_only_whole_numbers_count(value: object) -> None:
    assert whole(value) is None


def test_only_printable_text_counts() -> None:
    assert text("a b") == "a b"
    assert [text(value) for value in ("", "a\x00", 3, None)] == [None] * 4
    assert texts(["a", 1, "", "b"]) == ("a", "b")
    assert texts("ab") == ()
