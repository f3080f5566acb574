from __future__ import annotations

from proxy.limits.estimate import estimate_tokens


def test_a_prompt_is_a_quarter_of_its_bytes_and_the_answer_what_may_be_written() -> (
    None
):
    assert estimate_tokens(401, 100) == 101 + 100
    assert estimate_tokens(0, 7) == 7


def test_an_answer_without_a_bound_counts_1024() -> None:
    assert estimate_tokens(400, 0) == 100 + 1024


def test_what_writes_nothing_is_its_prompt_alone() -> None:
    assert estimate_tokens(400, 0, writes=False) == 100
