from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.state.base import Charge, Grant, Rate, State
from proxy.state.memory import MemoryState
from tests.fakes.hand_clock import HandClock

PER_MINUTE = Rate(amount=60, period_s=60.0)


async def reserve(state: State, *costs: tuple[str, float]) -> Grant:
    charges = tuple(Charge(key, PER_MINUTE, cost) for key, cost in costs)
    grant = state.rates.try_reserve(charges)
    return await state.rates.reserve(charges) if grant is None else grant


async def test_a_full_bucket_can_be_had_at_once(state: State) -> None:
    grant = await reserve(state, ("a", 60))
    assert grant.granted
    assert grant.levels[0].remaining == 0
    assert not (await reserve(state, ("a", 1))).granted


async def test_retry_after_is_exact(state: State, clock: HandClock) -> None:
    await reserve(state, ("a", 55))
    refused = await reserve(state, ("a", 20))
    assert refused.retry_after_s == pytest.approx(15.0)
    clock.pass_by(refused.retry_after_s - 0.01)
    assert not (await reserve(state, ("a", 20))).granted
    clock.pass_by(0.01)
    assert (await reserve(state, ("a", 20))).granted


async def test_a_refusal_takes_nothing(state: State) -> None:
    await reserve(state, ("a", 60))
    refused = await reserve(state, ("b", 10), ("a", 1))
    assert not refused.granted
    assert refused.levels[0].remaining == 60
    assert (await reserve(state, ("b", 60))).granted


async def test_of_several_allowances_the_longest_wait_counts(state: State) -> None:
    await reserve(state, ("a", 60), ("b", 50))
    refused = await reserve(state, ("a", 5), ("b", 40))
    assert refused.retry_after_s == pytest.approx(30.0)


async def test_what_is_larger_than_the_bucket_costs_the_bucket(
    state: State, clock: HandClock
) -> None:
    assert (await reserve(state, ("a", 1000))).granted
    refused = await reserve(state, ("a", 1000))
    assert refused.retry_after_s == pytest.approx(60.0)
    clock.pass_by(60)
    assert (await reserve(state, ("a", 1000))).granted


async def test_levels_say_what_remains_and_when_it_is_full(
    state: State, clock: HandClock
) -> None:
    await reserve(state, ("a", 40))
    clock.pass_by(10)
    (level,) = (await reserve(state, ("a", 0))).levels
    assert level.remaining == pytest.approx(30)
    assert level.reset_s == pytest.approx(30)


async def test_settling_gives_back_what_was_not_used(state: State) -> None:
    grant = await reserve(state, ("a", 50))
    state.rates.settle(grant, (10,))
    (level,) = (await reserve(state, ("a", 0))).levels
    assert level.remaining == pytest.approx(50)


async def test_settling_takes_what_was_used_beyond(
    state: State, clock: HandClock
) -> None:
    grant = await reserve(state, ("a", 50))
    state.rates.settle(grant, (60,))
    refused = await reserve(state, ("a", 1))
    assert refused.retry_after_s == pytest.approx(1.0)
    clock.pass_by(60)
    late = await reserve(state, ("a", 1))
    clock.pass_by(600)
    state.rates.settle(late, (31,))
    (level,) = (await reserve(state, ("a", 0))).levels
    assert level.remaining == pytest.approx(30), "an idle time pays nothing in advance"


async def test_a_refused_grant_settles_to_nothing(state: State) -> None:
    await reserve(state, ("a", 60))
    refused = await reserve(state, ("a", 30))
    state.rates.settle(refused, (0,))
    assert not (await reserve(state, ("a", 1))).granted


async def test_a_refund_gives_no_more_than_is_still_missing(
    state: State, clock: HandClock
) -> None:
    first = await reserve(state, ("a", 60))
    clock.pass_by(60)
    assert (await reserve(state, ("a", 60))).granted
    state.rates.settle(first, (0,))
    assert not (await reserve(state, ("a", 1))).granted


steps = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "settle", "wait"]),
        st.floats(0, 80, allow_nan=False),
    ),
    max_size=40,
)


@given(steps)
@settings(suppress_health_check=[HealthCheck.differing_executors], deadline=None)
def test_a_refund_never_grants_more_than_the_real_costs_leave(
    plan: list[tuple[str, float]],
) -> None:
    """Against a bucket that knew every real cost in advance."""
    clock = HandClock()
    state = MemoryState(clock)
    granted: list[tuple[float, float]] = []
    open_: list[tuple[int, Grant]] = []
    for step, number in plan:
        if step == "wait":
            clock.pass_by(number)
        elif step == "reserve":
            charge = Charge("a", PER_MINUTE, number)
            grant = state.rates.try_reserve((charge,))
            if grant.granted:
                open_.append((len(granted), grant))
                granted.append((clock.now, min(number, 60)))
        elif open_:
            index, grant = open_.pop(int(number) % len(open_))
            at, cost = granted[index]
            granted[index] = (at, cost * (number / 80))
            state.rates.settle(grant, (granted[index][1],))
    full_at = 0.0
    for at, cost in granted:
        full_at = max(full_at, at) + cost
    (level,) = state.rates.try_reserve((Charge("a", PER_MINUTE, 0),)).levels
    assert level.reset_s >= max(0.0, full_at - clock.now) - 1e-3


async def test_a_charge_is_drawn_where_it_can_be_had_here(state: State) -> None:
    drawn = 0
    while (full_in_s := state.rates.draw("a", 1.0, 60.0)) is not None:
        drawn += 1
        assert full_in_s == pytest.approx(drawn)
    assert drawn in (0, 60)  # none where a server counts
    grant = await reserve(state, ("a", 60 - drawn))
    assert grant.granted
    assert not (await reserve(state, ("a", 1))).granted
