from __future__ import annotations

import pytest

from proxy.core.patterns import best, matcher


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("qwen", "qwen", True),
        ("qwen", "qwen2", False),
        ("qwen*", "qwen2.5", True),
        ("*", "", True),
        ("*/qwen*", "openrouter/qwen/qwen-2.5", True),
        ("a.b", "axb", False),
        ("m[1]", "m[1]", True),
        ("m[1]", "m1", False),
        ("m?", "m?", True),
        ("m?", "mx", False),
        ("a*", "a\nb", True),
        ("Qwen", "qwen", False),
        ("", "x", False),
    ],
)
def test_a_star_is_any_run_and_all_else_is_itself(
    pattern: str, name: str, matches: bool
) -> None:
    assert matcher((pattern,))(name) is matches


def test_no_pattern_matches_nothing() -> None:
    assert not matcher(())("")
    assert not matcher(())("x")


def test_many_stars_cost_no_more_than_their_number() -> None:
    assert not matcher(("*" * 40 + "b",))("a" * 10_000)


def test_a_name_of_its_own_goes_before_the_longest_pattern() -> None:
    table = {"*": 1, "agent-*": 2, "agent-x*": 3, "agent-x": 4}
    assert best(table, "agent-x") == 4
    assert best(table, "agent-xy") == 3
    assert best(table, "agent-y") == 2
    assert best(table, "other") == 1
    assert best({}, "other") is None
