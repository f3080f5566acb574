"""How the fakes' model behaves when nothing is queued."""

from __future__ import annotations

import pytest

from tests.fakes.talk import (
    JSON_TEXT,
    TEXT,
    THOUGHT,
    Heard,
    Talk,
    Talker,
    behave,
    pieces,
)


@pytest.mark.parametrize("text", ["", "one", "one two", " lead  double ", TEXT])
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert pieces(TEXT) == ["Hello", " from", " the", " fake"]


def test_tools_are_called_until_there_are_results() -> None:
    asked = Heard(tools=("a", "b", "c"))
    assert [call.name for call in behave(asked).calls] == ["a", "b"]
    assert len({call.id for call in behave(asked).calls}) == 2
    single = Heard(tools=("a", "b"), only_one_call=True)
    assert [call.name for call in behave(single).calls] == ["a"]
    assert behave(Heard(tools=("a",), has_result=True)) == Talk()


def test_stop_and_limits_are_obeyed() -> None:
    stopped = behave(Heard(stop=("zzz", " the")))
    assert (stopped.text, stopped.finish) == ("Hello from", "stop_sequence")
    assert stopped.stop_sequence == " the"
    cut = behave(Heard(max_tokens=2))
    assert (cut.text, cut.finish) == ("Hello from", "length")
    assert behave(Heard(max_tokens=4)).finish == "stop"


def test_json_and_thoughts_come_when_asked() -> None:
    assert behave(Heard(wants_json=True)).text == JSON_TEXT
    thoughtful = behave(Heard(thinks=True))
    assert (thoughtful.thinking, thoughtful.tokens) == (THOUGHT, 7)


def test_what_is_queued_comes_first_and_once() -> None:
    talker = Talker()
    talker.say(Talk("one"), Talk("two"))
    said = [talker.talk_for(Heard()).text for _ in range(3)]
    assert said == ["one", "two", TEXT]
