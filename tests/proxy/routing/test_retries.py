from __future__ import annotations

from proxy.routing.retries import FLOOR, WINDOW_S, RetryBudget
from tests.fakes.hand_clock import HandClock


def granted(budget: RetryBudget, tries: int, provider_id: str = "a") -> int:
    return sum(budget.try_retry(provider_id) for _ in range(tries))


def test_retries_are_a_share_of_the_requests_to_that_provider() -> None:
    budget = RetryBudget(0.2, HandClock())
    for _ in range(100):
        budget.asked("a")
    assert granted(budget, 100) == 20
    assert granted(budget, 100, "b") == FLOOR


def test_a_few_are_always_allowed_but_none_where_none_shall_be() -> None:
    assert granted(RetryBudget(0.2, HandClock()), 10) == FLOOR
    assert granted(RetryBudget(0.0, HandClock()), 10) == 0


def test_what_was_used_comes_back_as_the_window_slides() -> None:
    clock = HandClock()
    budget = RetryBudget(0.2, clock)
    assert granted(budget, 10) == FLOOR
    clock.pass_by(WINDOW_S)
    assert granted(budget, 10) == 0
    clock.pass_by(WINDOW_S)
    assert granted(budget, 10) == FLOOR


def test_requests_of_long_ago_allow_nothing_now() -> None:
    clock = HandClock()
    budget = RetryBudget(0.2, clock)
    for _ in range(1000):
        budget.asked("a")
    clock.pass_by(10 * WINDOW_S)
    assert granted(budget, 100) == FLOOR
