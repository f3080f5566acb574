from __future__ import annotations

import json

import pytest

from providers.wire.members import Members, read_members
from providers.wire.wants import (
    most_tokens,
    text_bytes,
    wants_json,
    wants_tools,
    wants_vision,
)

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def body(**members: object) -> Members:
    return read_members(json.dumps({"model": "m", **members}).encode())


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, False),
        ({"tools": []}, False),
        ({"tools": None}, False),
        ({"tools": [TOOL]}, True),
        ({"functions": [{"name": "f"}]}, True),
    ],
)
def test_tools(members: dict[str, object], expected: bool) -> None:
    assert wants_tools(body(**members)) is expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, False),
        ({"response_format": {"type": "text"}}, False),
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, True),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, True),
        ({"text": {"format": {"type": "text"}}}, False),
        ({"output_config": {"format": {"type": "json_schema"}}}, True),
        ({"output_config": {"effort": "high"}}, False),
        ({"format": "json"}, True),
        ({"format": ""}, False),
    ],
)
def test_json_mode(members: dict[str, object], expected: bool) -> None:
    assert wants_json(body(**members)) is expected


@pytest.mark.parametrize(
    "content",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        {"type": "input_image", "image_url": "https://x/y.png"},
        {"type": "image", "source": {"type": "base64", "data": "AA"}},
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", " :\n  ")])
def test_images_of_every_dialect(
    content: dict[str, object], separators: tuple[str, str]
) -> None:
    document = {"messages": [{"role": "user", "content": [content]}]}
    raw = json.dumps(document, separators=separators).encode()
    assert wants_vision(read_members(raw))


def test_ollamas_images_stand_beside_the_text() -> None:
    assert wants_vision(body(messages=[{"content": "see", "images": ["AAAA"]}]))
    assert not wants_vision(body(messages=[{"content": "see", "images": []}]))


@pytest.mark.parametrize(
    "content",
    [
        'what does "type": "image_url" mean?',
        '{"type":"image"}',
        [{"type": "text", "text": '"image_url"'}],
    ],
)
def test_text_about_images_is_no_image(content: object) -> None:
    assert not wants_vision(body(messages=[{"role": "user", "content": content}]))


def test_a_tool_with_a_property_called_like_an_image_is_no_image() -> None:
    schema = {"properties": {"image_url": {"type": "string"}, "image": {"type": "x"}}}
    assert not wants_vision(body(tools=[{"function": {"parameters": schema}}]))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, 0),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 9, "max_tokens": 7}, 9),
        ({"max_output_tokens": 11}, 11),
        ({"max_tokens": None}, 0),
        ({"max_tokens": "many"}, 0),
        ({"max_tokens": True}, 0),
        ({"max_tokens": -1}, 0),
    ],
)
def test_most_tokens(members: dict[str, object], expected: int) -> None:
    assert most_tokens(body(**members)) == expected


def test_only_text_has_a_size_that_means_tokens() -> None:
    plain = body(messages=[{"content": "x" * 100}])
    assert text_bytes(plain) == len(plain.body)
    assert text_bytes(body(url="data:image/png;base64,AAAA")) == 0
