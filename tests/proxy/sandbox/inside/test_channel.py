from __future__ import annotations

import json
import os
from typing import Any

import pytest

from proxy.sandbox.inside.channel import Channel, as_json, raised, result, shown


class Hostile:
    def __repr__(self) -> str:
        raise SystemExit

    def __str__(self) -> str:
        raise SystemExit


class HostileDict(dict[str, int]):
    def items(self) -> Any:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (None, "null"),
        ("ä", '"ä"'),
        ([1, (2, 3)], "[1, [2, 3]]"),
        ({"a": {"b": True}, 1: 2}, '{"a": {"b": true}, "1": 2}'),
        (10**30, "1" + "0" * 30),
        ({1, 2}, '"{1, 2}"'),
        ({"a": {1}}, '{"a": "{1}"}'),
        (float("nan"), '"nan"'),
        ([float("inf")], '"[inf]"'),
        ({(1, 2): 3}, '"{(1, 2): 3}"'),
        (b"x", json.dumps("b'x'")),
        (Hostile(), '"<Hostile>"'),
        ([Hostile()], '["<Hostile>"]'),
        ("\ud800", json.dumps("'\\ud800'")),
    ],
)
def test_what_is_json_is_written_and_the_rest_is_shown(value: Any, text: str) -> None:
    assert as_json(value) == text


def test_what_cannot_end_is_shown() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert as_json(endless) == '"[[...]]"'
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert as_json(deep) == '"<list>"'


def test_values_with_methods_of_their_own_do_no_harm() -> None:
    json.loads(as_json(HostileDict(a=1)))
    assert shown(Hostile()) == "<Hostile>"
    assert shown(10**10_000) == "<int>"  # too long for Python to write


def test_a_result_past_the_limit_is_cut() -> None:
    told = result("x" * 1000, "str", 100)
    assert told["truncated"] is True
    assert len(json.loads(told["result"])) == 98
    assert result("x", "str", 100)["truncated"] is False


def test_what_an_exception_says_is_bounded() -> None:
    told = raised("E" * 999, "m" * 9999, "t" * 99_999)
    assert [len(told[k]) for k in ("exception", "message", "traceback")] == [
        200, 2000, 8000,
    ]  # fmt: skip


def test_a_reply_is_a_length_and_json() -> None:
    reading, writing = os.pipe()
    Channel(writing).send({"kind": "ready", "text": "ä\ud800"})
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        size = int.from_bytes(file.read(4), "big")
        body = file.read()
    assert len(body) == size
    assert json.loads(body) == {"kind": "ready", "text": "ä\ud800"}
