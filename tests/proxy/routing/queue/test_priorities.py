from __future__ import annotations

import pytest

from proxy.routing.queue import priority_of

GIVEN = {"agent-*": 0, "agent-batch-*": 5, "agent-batch-vip": 2, "default": 3}


@pytest.mark.parametrize(
    ("key_name", "priority"),
    [
        ("agent-7", 0),
        ("agent-batch-7", 5),
        ("agent-batch-vip", 2),
        ("laptop", 3),
        ("default", 3),
        (None, 3),
    ],
)
def test_the_name_beats_the_longest_pattern_and_that_the_default(
    key_name: str | None, priority: int
) -> None:
    assert priority_of(GIVEN, key_name) == priority


def test_without_a_word_on_it_everybody_is_equal() -> None:
    assert priority_of({}, "a") == priority_of({}, None) == 1
    assert priority_of({"agent-*": 0}, "a") == 1


def test_nothing_is_before_the_first() -> None:
    assert priority_of({"a": -5}, "a") == 0


def test_case_and_brackets_are_as_in_a_shell_on_every_system() -> None:
    assert priority_of({"Agent-?": 0}, "agent-1") == 1
    assert priority_of({"agent-[0-9]": 0}, "agent-1") == 0
