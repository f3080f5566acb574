from __future__ import annotations

import pytest

from proxy.state.books import Books, over_daily, over_monthly
from proxy.state.calendar import DAY_S
from proxy.state.money import Account, Draw
from tests.fakes.hand_clock import HandClock

ONE, OTHER = Account("key", "a"), Account("tenant", "b")


@pytest.fixture
def clock() -> HandClock:
    clock = HandClock()
    clock.now = 20_000.5 * DAY_S
    return clock


def test_what_is_set_aside_is_so_in_every_account(clock: HandClock) -> None:
    books = Books(clock)
    first, second = books.open((ONE, OTHER), 7), books.open((ONE,), 5)
    assert (books.book(ONE).aside, books.book(OTHER).aside) == (12, 7)
    assert (books.aside, books.accounts) == (12, (ONE, OTHER))
    books.close(first, 3)
    books.close(second, 9)
    assert (books.book(ONE).aside, books.book(ONE).of_day) == (0, 12)
    assert (books.book(OTHER).of_day, books.aside) == (3, 0)


def test_leases_end_in_the_order_they_began(clock: HandClock) -> None:
    books = Books(clock, lifetime_s=10)
    late = books.open((ONE,), 7)
    clock.pass_by(5)
    books.open((OTHER,), 5)
    clock.pass_by(5)
    assert books.end_leases() == (ONE,)
    assert books.aside == 5
    books.close(late, 4)
    assert (books.book(ONE).aside, books.book(ONE).of_day) == (0, 4)
    assert books.end_leases() == ()


def test_a_new_day_begins_with_what_is_set_aside_and_no_earlier_one_comes_back(
    clock: HandClock,
) -> None:
    books = Books(clock)
    books.close(books.open((ONE,), 7), 7)
    books.open((ONE,), 5)
    clock.pass_by(DAY_S)
    assert (books.book(ONE).of_day, books.book(ONE).of_month) == (0, 7)
    assert books.book(ONE).aside == 5
    today = books.today
    clock.pass_by(-3 * DAY_S)
    assert books.today == today
    assert books.book(ONE).of_month == 7


def test_a_refusal_says_when_the_period_ends(clock: HandClock) -> None:
    daily = over_daily(Draw(ONE, 5, 9), clock.now)
    assert (daily.period, daily.limit, daily.retry_after_s) == ("daily", 5, DAY_S / 2)
    monthly = over_monthly(Draw(ONE, 5, 9), clock.now)  # 2024-10-04
    assert (monthly.period, monthly.limit) == ("monthly", 9)
    assert monthly.retry_after_s == 27.5 * DAY_S
