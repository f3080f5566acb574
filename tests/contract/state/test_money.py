from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from proxy.state.base import State
from proxy.state.calendar import day_of
from proxy.state.money import Account, Draw, Lease, Spent, Unknown
from tests.fakes.hand_clock import HandClock

KEY = Account("key", "k1")
TEAM = Account("tenant", "team: a*b")
DAILY = Draw(KEY, 100, None)
MONTHLY = Draw(TEAM, None, 150)
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def at_noon(clock: HandClock) -> None:
    clock.now = NOON


async def reserve(state: State, amount: int, *draws: Draw) -> Lease | Spent:
    """Reserve, telling that nothing was spent before whenever it asks."""
    for _ in range(3):
        found = state.money.try_reserve(draws, amount)
        if found is None:
            found = await state.money.reserve(draws, amount)
        if not isinstance(found, Unknown):
            return found
        for account in found.accounts:
            state.money.learn(account, found.day, 0, 0)
    raise AssertionError("it does not learn")


async def lease(state: State, amount: int, *draws: Draw) -> Lease:
    found = await reserve(state, amount, *draws)
    assert isinstance(found, Lease)
    return found


async def refused(state: State, amount: int, *draws: Draw) -> Spent:
    found = await reserve(state, amount, *draws)
    assert isinstance(found, Spent)
    return found


async def test_nothing_is_granted_before_it_is_told_what_was_spent(
    state: State,
) -> None:
    found = await state.money.reserve((DAILY, MONTHLY), 1)
    assert found == Unknown((KEY, TEAM), day_of(NOON))
    assert state.money.aside == 0
    state.money.learn(KEY, day_of(NOON), 60, 90)
    assert await state.money.reserve((DAILY, MONTHLY), 1) == Unknown(
        (TEAM,), day_of(NOON)
    )
    state.money.learn(TEAM, day_of(NOON), 0, 110)
    await refused(state, 41, DAILY)
    await refused(state, 41, MONTHLY)
    await lease(state, 40, DAILY, MONTHLY)


async def test_what_is_set_aside_is_settled_by_its_cost(state: State) -> None:
    first = await lease(state, 60, DAILY)
    assert state.money.aside == 60
    assert state.money.sums(KEY) == (0, 0, 60)
    await refused(state, 41, DAILY)
    state.money.settle(first, 10)
    assert state.money.sums(KEY) == (10, 10, 0)
    second = await lease(state, 90, DAILY)
    await refused(state, 1, DAILY)
    state.money.settle(second, 120)
    assert state.money.sums(KEY) == (130, 130, 0)
    await refused(state, 0, DAILY)


async def test_of_several_accounts_all_are_drawn_on_or_none(state: State) -> None:
    await lease(state, 100, MONTHLY)
    refusal = await refused(state, 60, DAILY, MONTHLY)
    assert (refusal.account, refusal.period, refusal.limit) == (TEAM, "monthly", 150)
    assert state.money.sums(KEY).aside == 0
    await lease(state, 100, DAILY)


async def test_what_is_spent_for_good_counts_though_it_is_unbounded_here(
    state: State,
) -> None:
    unbounded = Draw(KEY, None, None)
    state.money.settle(await lease(state, 1000, unbounded), 1000)
    await refused(state, 1, DAILY)


async def test_a_day_ends_and_a_month_ends(state: State, clock: HandClock) -> None:
    both = Draw(KEY, 100, 150)
    state.money.settle(await lease(state, 100, both), 100)
    refusal = await refused(state, 1, both)
    assert refusal.period == "daily"
    assert refusal.retry_after_s == pytest.approx(12 * 3600)
    clock.pass_by(refusal.retry_after_s)
    assert (await lease(state, 50, both)).amount == 50
    refusal = await refused(state, 1, both)
    assert refusal.period == "monthly"
    assert refusal.retry_after_s == pytest.approx(24 * 3600)
    clock.pass_by(refusal.retry_after_s)
    assert state.money.sums(KEY)[:2] == (0, 0)
    await lease(state, 50, both)


@pytest.mark.parametrize(
    "date", ["2024-02-29", "2026-01-01", "2026-12-31", "2027-03-01", "2100-02-28"]
)
async def test_months_are_those_of_the_calendar(
    state: State, clock: HandClock, date: str
) -> None:
    """What is of the month before is not counted, whoever does the arithmetic."""
    clock.now = datetime.fromisoformat(f"{date}T23:59:00+00:00").timestamp()
    state.money.settle(await lease(state, 150, MONTHLY), 150)
    today = state.money.today
    assert (await refused(state, 1, MONTHLY)).period == "monthly"
    clock.pass_by(120)
    is_last = datetime.fromtimestamp(clock.now, UTC).day == 1
    assert isinstance(await reserve(state, 1, MONTHLY), Lease if is_last else Spent)
    assert state.money.today == today + 1


async def test_a_lease_that_nobody_settles_comes_back(
    state: State, clock: HandClock
) -> None:
    clock.now -= 6 * 3600
    lost = await lease(state, 100, DAILY)
    await refused(state, 1, DAILY)
    clock.pass_by(3600)
    for _ in range(500):  # a server is told with the heartbeat
        if isinstance(await reserve(state, 100, DAILY), Lease):
            break
        await asyncio.sleep(0.01)
    assert state.money.aside == 100
    state.money.settle(lost, 30)
    assert state.money.sums(KEY) == (30, 30, 100)


async def test_learning_raises_and_never_lowers(state: State) -> None:
    state.money.settle(await lease(state, 50, DAILY), 50)
    state.money.learn(KEY, day_of(NOON), 20, 20)
    assert state.money.sums(KEY)[:2] == (50, 50)
    state.money.learn(KEY, day_of(NOON), 80, 90)
    await refused(state, 21, DAILY)
    assert state.money.sums(KEY)[:2] == (80, 90)
    state.money.settle(await lease(state, 20, DAILY), 20)
    assert state.money.sums(KEY)[:2] == (100, 110)


async def test_what_is_learned_of_yesterday_is_not_of_today(state: State) -> None:
    await lease(state, 1, DAILY, MONTHLY)
    state.money.learn(KEY, day_of(NOON) - 1, 100, 120)
    state.money.learn(TEAM, day_of(NOON) - 40, 100, 120)
    assert state.money.sums(KEY)[:2] == (0, 120)
    assert state.money.sums(TEAM)[:2] == (0, 0)


async def test_a_crowd_never_has_more_than_there_is(state: State) -> None:
    found = await asyncio.gather(*(reserve(state, 7, DAILY) for _ in range(50)))
    assert sum(isinstance(one, Lease) for one in found) == 14
    assert set(state.money.accounts) == {KEY}
