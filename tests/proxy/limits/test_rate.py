from __future__ import annotations

import asyncio
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config.schema_policy import RateLimit, RateLimitsConfig
from proxy.core.types import ANYONE, Limits, Principal
from proxy.limits.plan import Caller, Plan
from proxy.limits.rate import LimitReached, RateLimits, Reserved
from proxy.state.base import Bound, Charge, Grant
from proxy.state.memory import MemoryState
from tests.fakes.hand_clock import HandClock

KEY = Caller(Principal(key="k1", key_name="a"))


def limits_of(clock: HandClock, state: MemoryState | None = None, **default: object) -> RateLimits:  # fmt: skip
    state = state or MemoryState(clock)
    config = RateLimitsConfig(default=RateLimit(**default))  # type: ignore[arg-type]
    return RateLimits(config, state.rates, state.slots)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def planned(limits: RateLimits, caller: Caller = KEY) -> Plan:
    plan = limits.plan_of(caller.principal, caller.address, caller.model, caller.user)
    assert plan is not None
    return plan


def reserve(limits: RateLimits, caller: Caller = KEY, tokens: int = 0) -> Reserved:
    reserved = limits.try_reserve(planned(limits, caller), tokens)
    assert reserved is not None
    return reserved


def told(lines: str) -> dict[str, str]:
    """The fields of a reply's head."""
    return dict(line.split(": ") for line in lines.splitlines())


def refused(limits: RateLimits, caller: Caller = KEY, tokens: int = 0) -> LimitReached:
    with pytest.raises(LimitReached) as reached:
        limits.try_reserve(planned(limits, caller), tokens)
    assert reached.value.status == 429
    return reached.value


def test_without_limits_nothing_is_counted(clock: HandClock) -> None:
    state = MemoryState(clock)
    limits = limits_of(clock, state)
    assert not limits.is_on
    assert limits.plan_of(ANYONE, "1.2.3.4") is None
    assert len(state.rates) == len(state.slots) == 0


def test_a_key_may_have_limits_where_nobody_else_has(clock: HandClock) -> None:
    limits = limits_of(clock)
    caller = Caller(Principal(key="k1", limits=Limits(requests="1/minute")))
    reserve(limits, caller)
    assert refused(limits, caller).code == "rate_limit_exceeded"
    assert limits.plan_of(Principal(key="k2")) is None


def test_requests_are_refused_until_exactly_when_it_was_said(clock: HandClock) -> None:
    limits = limits_of(clock, requests="2/minute")
    reserve(limits)
    clock.pass_by(10)
    reserve(limits)
    error = refused(limits)
    assert error.code == "rate_limit_exceeded"
    assert error.retry_after_s == pytest.approx(20.0)
    clock.pass_by(19.99)
    refused(limits)
    clock.pass_by(0.01)
    reserve(limits)


def test_a_refusal_says_in_readable_time_when_to_come_back(clock: HandClock) -> None:
    limits = limits_of(clock, requests="1/hour")
    reserve(limits)
    assert refused(limits).message.endswith("can be made in 1h0m0s.")


def test_tokens_are_reserved_by_estimate_and_settled_by_use(clock: HandClock) -> None:
    limits = limits_of(clock, tokens="1000/minute")
    with reserve(limits, tokens=900) as held:
        error = refused(limits, tokens=200)
        held.use(300)
    assert error.code == "token_limit_exceeded"
    assert error.retry_after_s == pytest.approx(6.0)
    with reserve(limits, tokens=700) as held:
        held.use(700)
    assert refused(limits, tokens=1).retry_after_s == pytest.approx(0.06)


def test_what_was_never_used_is_given_back_and_what_nobody_knows_is_not(
    clock: HandClock,
) -> None:
    limits = limits_of(clock, tokens="1000/minute")
    with pytest.raises(RuntimeError), reserve(limits, tokens=1000):
        raise RuntimeError
    with reserve(limits, tokens=1000) as held:
        held.use(None)
    assert refused(limits, tokens=1000).retry_after_s == pytest.approx(60.0)


def test_more_than_was_reserved_is_charged_all_the_same(clock: HandClock) -> None:
    limits = limits_of(clock, tokens="1000/minute")
    with reserve(limits, tokens=100) as held:
        held.use(900)
    assert refused(limits, tokens=200).retry_after_s == pytest.approx(6.0)


def test_a_request_larger_than_the_bucket_costs_the_bucket(clock: HandClock) -> None:
    limits = limits_of(clock, tokens="1000/minute")
    reserve(limits, tokens=10**9)
    assert refused(limits, tokens=10**9).retry_after_s == pytest.approx(60.0)
    clock.pass_by(60)
    reserve(limits, tokens=10**9)


def test_a_refusal_by_one_limit_takes_nothing_of_the_others(clock: HandClock) -> None:
    state = MemoryState(clock)
    limits = limits_of(
        clock, state, requests="10/minute", tokens="100/minute", concurrent=1
    )
    first = reserve(limits, tokens=100)
    first.use(100)
    first.end()
    for _ in range(50):
        assert refused(limits, tokens=1).code == "token_limit_exceeded"
    assert len(state.slots) == 0
    held = reserve(limits, tokens=0)
    assert told(held.lines())["x-ratelimit-remaining-requests"] == "8"


def test_the_fields_tell_how_the_tightest_limit_stands(clock: HandClock) -> None:
    limits = limits_of(clock, requests="10/minute", tokens="1000/minute")
    assert reserve(limits, tokens=250).lines() == (
        "x-ratelimit-limit-requests: 10\r\n"
        "x-ratelimit-remaining-requests: 9\r\n"
        "x-ratelimit-reset-requests: 6s\r\n"
        "x-ratelimit-limit-tokens: 1000\r\n"
        "x-ratelimit-remaining-tokens: 750\r\n"
        "x-ratelimit-reset-tokens: 15s\r\n"
    )
    said = told(refused(limits, tokens=800).lines)
    assert said["x-ratelimit-remaining-tokens"] == "750"
    assert said["x-ratelimit-remaining-requests"] == "9"


def test_so_many_at_a_time_and_room_again_when_one_ends(clock: HandClock) -> None:
    state = MemoryState(clock)
    limits = limits_of(clock, state, concurrent=2)
    first, second = reserve(limits), reserve(limits)
    error = refused(limits)
    assert (error.code, error.retry_after_s) == ("rate_limit_exceeded", 1.0)
    first.end()
    first.end()
    third = reserve(limits)
    refused(limits)
    second.end()
    third.end()
    assert len(state.slots) == 0


def test_keys_do_not_draw_on_each_other(clock: HandClock) -> None:
    limits = limits_of(clock, requests="1/minute")
    reserve(limits, Caller(Principal(key="k1")))
    reserve(limits, Caller(Principal(key="k2")))
    reserve(limits, Caller(ANYONE, "1.2.3.4"))
    reserve(limits, Caller(ANYONE, "1.2.3.5"))
    refused(limits, Caller(ANYONE, "1.2.3.5"))


def test_a_reload_changes_the_limits_and_forgets_no_use(clock: HandClock) -> None:
    limits = limits_of(clock, requests="10/minute")
    for _ in range(10):
        reserve(limits)
    limits.adopt(RateLimitsConfig(default=RateLimit(requests="20/minute")))
    # Each bucket is a time until it is full: a minute's worth was taken.
    assert refused(limits).retry_after_s == pytest.approx(3.0)
    limits.adopt(RateLimitsConfig())
    assert limits.plan_of(KEY.principal) is None


# -- a state that answers later --------------------------------------------------------


class LateRates:
    """Counts as memory does, but has to be awaited."""

    def __init__(self, state: MemoryState) -> None:
        self._rates = state.rates
        self.fails = False

    def try_reserve(self, charges: tuple[Charge, ...]) -> Grant | None:
        return None

    async def reserve(self, charges: tuple[Charge, ...]) -> Grant:
        await asyncio.sleep(0)
        if self.fails:
            raise ConnectionError
        return self._rates.try_reserve(charges)

    def settle(self, grant: Grant, costs: tuple[float, ...]) -> None:
        self._rates.settle(grant, costs)


class LateSlots:
    """Does not know at first."""

    def __init__(self, state: MemoryState, unknown: int) -> None:
        self._slots = state.slots
        self._unknown = unknown
        self.held = state.slots.held
        self.watch = state.slots.watch
        self.give_back = state.slots.give_back

    def try_take(self, bounds: tuple[Bound, ...], *, ask: bool = True) -> bool | None:
        self._unknown -= 1
        return None if self._unknown >= 0 else self._slots.try_take(bounds)


async def test_what_others_count_is_awaited(clock: HandClock) -> None:
    state = MemoryState(clock)
    config = RateLimitsConfig(default=RateLimit(requests="1/minute", concurrent=1))
    limits = RateLimits(config, LateRates(state), LateSlots(state, 3))
    assert limits.try_reserve(planned(limits), 0) is None
    with await limits.reserve(planned(limits), 0) as held:
        assert held.lines()
        with pytest.raises(LimitReached):
            limits.try_reserve(planned(limits), 0)
    with pytest.raises(LimitReached):
        await limits.reserve(planned(limits), 0)
    assert len(state.slots) == 0


async def test_nothing_is_kept_when_who_counts_fails(clock: HandClock) -> None:
    state = MemoryState(clock)
    config = RateLimitsConfig(default=RateLimit(requests="9/minute", concurrent=1))
    rates = LateRates(state)
    limits = RateLimits(config, rates, state.slots)
    assert limits.try_reserve(planned(limits), 0) is None
    assert len(state.slots) == 0
    rates.fails = True
    with pytest.raises(ConnectionError):
        await limits.reserve(planned(limits), 0)
    assert len(state.slots) == 0


# -- never exceeded --------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "ask", "ask", "end", "wait", "retry"]),
            st.integers(0, 400),
            st.integers(0, 400),
        ),
        max_size=60,
    )
)
def test_no_order_of_events_exceeds_a_limit(
    plan: list[tuple[str, int, int]],
) -> None:
    """What is granted within any minute is at most twice the bucket: one that was
    full, and what flowed in; and who comes back when told is not refused again."""
    clock = HandClock()
    state = MemoryState(clock)
    limits = limits_of(
        clock, state, requests="10/minute", tokens="1000/minute", concurrent=3
    )
    asked_at: deque[float] = deque()
    used: list[tuple[float, int]] = []
    held: list[tuple[Reserved, int]] = []
    for step, tokens, real in plan:
        if step == "wait":
            clock.pass_by(tokens / 10)
        elif step == "end":
            if held:
                reservation, reserved = held.pop(real % len(held))
                reservation.use(min(real, reserved))
                reservation.end()
                used.append((clock.now, min(real, reserved)))
        else:
            wait_s = 0.0
            reservation: Reserved | None
            try:
                reservation = reserve(limits, tokens=tokens)
            except LimitReached as error:
                wait_s = error.retry_after_s or 0.0
                reservation = None
            if reservation is None:
                assert 0 < wait_s <= 60
                if step == "ask" or len(held) >= 3:
                    continue
                clock.pass_by(wait_s)
                reservation = reserve(limits, tokens=tokens)
            held.append((reservation, tokens))
            asked_at.append(clock.now)
        assert len(held) <= 3
        assert state.slots.held("limit:key:k1") == len(held)
        while asked_at and asked_at[0] <= clock.now - 60:
            asked_at.popleft()
        assert len(asked_at) <= 20
    for reservation, _ in held:
        reservation.end()
    assert len(state.slots) == 0
    spent = sum(tokens for at, tokens in used if at > clock.now - 60)
    assert spent <= 2000 + 3 * 400
