"""A toll takes and tells what reserving takes and tells, of one number of requests."""

from __future__ import annotations

from proxy.config.schema_policy import RateLimitsConfig
from proxy.core.types import Limits, Principal
from proxy.limits.plan import Plan
from proxy.limits.rate import RateLimits
from proxy.limits.toll import Toll
from proxy.state.memory import MemoryState
from tests.fakes.hand_clock import HandClock


def limits(clock: HandClock, **given: object) -> tuple[RateLimits, Plan]:
    state = MemoryState(clock)
    made = RateLimits(RateLimitsConfig(), state.rates, state.slots)
    plan = made.plan_of(Principal(key="k", limits=Limits(**given)))  # type: ignore[arg-type]
    assert plan is not None
    return made, plan


def toll(clock: HandClock, **given: object) -> Toll | None:
    made, plan = limits(clock, **given)
    return made.toll(plan)


def test_it_says_what_a_reservation_says() -> None:
    clock = HandClock()
    made, plan = limits(clock, requests="3/minute")
    paid = toll(clock, requests="3/minute")
    assert paid is not None
    for _ in range(3):
        reserved = made.try_reserve(plan, 0)
        assert reserved is not None
        assert paid.pay() == reserved.lines()
        clock.pass_by(0.5)


def test_it_says_the_same_whenever_all_of_it_was_there() -> None:
    clock = HandClock()
    made, plan = limits(clock, requests="7/minute")
    paid = toll(clock, requests="7/minute")
    assert paid is not None
    for _ in range(3):
        reserved = made.try_reserve(plan, 0)
        assert reserved is not None
        assert paid.pay() == reserved.lines()
        clock.pass_by(61.3)


def test_nothing_is_taken_where_there_is_none() -> None:
    clock = HandClock()
    paid = toll(clock, requests="1/minute")
    assert paid is not None
    assert paid.pay() is not None
    for _ in range(3):
        clock.pass_by(19.9)
        assert paid.pay() is None
    clock.pass_by(0.3)
    assert paid.pay() is not None


def test_there_is_none_where_more_is_limited_than_requests() -> None:
    clock = HandClock()
    assert toll(clock, requests="3/minute", tokens="9/minute") is None
    assert toll(clock, requests="3/minute", concurrent=2) is None
    assert toll(clock, concurrent=2) is None
