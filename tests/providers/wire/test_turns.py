from __future__ import annotations

import json

import pytest

from providers.wire.members import Members, read_members
from providers.wire.turns import opening, turns


def body(**members: object) -> Members:
    return read_members(json.dumps({"model": "m", **members}).encode())


def said(*words: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": word} for word in words]


@pytest.mark.parametrize("name", ["messages", "input"])
def test_a_later_turn_begins_with_the_pieces_of_the_former(name: str) -> None:
    first = list(turns(body(**{name: said("a", "b")})))
    second = list(turns(body(**{name: said("a", "b", "c", "d")})))
    assert len(first) == 2
    assert second[:2] == first
    assert len(second) == 4


def test_a_growing_text_keeps_its_whole_blocks() -> None:
    first = list(turns(body(prompt="x" * 2500)))
    second = list(turns(body(prompt="x" * 2500 + "y" * 2000)))
    assert len(first) == 2
    assert second[:2] == first
    assert len(second) == 4


def test_a_short_text_is_one_piece() -> None:
    assert len(list(turns(body(input="hello")))) == 1


def test_long_pieces_are_told_apart_by_length_beginning_and_end() -> None:
    def piece(text: str) -> bytes:
        (found,) = turns(body(messages=said(text)))
        return found

    long = "x" * 100_000
    assert len(piece(long)) < 10_000
    assert len({piece(long), piece(long + "x"), piece("y" + long[1:])}) == 3


def test_tools_and_system_belong_to_the_opening() -> None:
    assert opening(body(system="a")) != opening(body(system="b"))
    assert opening(body(tools=[{"name": "a"}])) != opening(body())
    assert opening(body(messages=said("a"))) == opening(body(messages=said("b")))


def test_what_is_no_conversation_has_no_pieces() -> None:
    assert list(turns(body())) == []
    assert list(turns(body(messages=[]))) == []
