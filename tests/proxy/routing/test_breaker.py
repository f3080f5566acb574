from __future__ import annotations

import pytest

from proxy.routing.breaker import (
    ENTRIES,
    FIRST_COOLDOWN_S,
    LONGEST_COOLDOWN_S,
    PROBE_S,
    THRESHOLD,
    TRANSITIONS,
    WINDOW_S,
    Breaker,
    Circuit,
    Event,
)
from proxy.state.base import Where
from proxy.state.memory import MemoryState
from tests.fakes.hand_clock import HandClock

HERE = Where("spark", "qwen")
NEXT_DOOR = Where("spark", "llama")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def breaker(clock: HandClock) -> Breaker:
    return Breaker(MemoryState(clock).cooldowns, clock)


def fail(breaker: Breaker, times: int = THRESHOLD, where: Where = HERE) -> None:
    for _ in range(times):
        breaker.failed(where)


def test_every_state_is_left_by_some_event_and_no_other_way() -> None:
    assert {before for before, _ in TRANSITIONS} == set(Circuit)
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_opens_at_the_threshold_and_there_alone(breaker: Breaker) -> None:
    fail(breaker, THRESHOLD - 1)
    assert breaker.allows(HERE)
    breaker.failed(HERE)
    assert (breaker.state(HERE), breaker.allows(HERE)) == (Circuit.OPEN, False)
    assert breaker.allows(NEXT_DOOR)
    assert breaker.allows(Where("spark"))


def test_failures_spread_wider_than_the_window_do_not_open_it(
    breaker: Breaker, clock: HandClock
) -> None:
    for _ in range(3 * THRESHOLD):
        breaker.failed(HERE)
        clock.pass_by(WINDOW_S / (THRESHOLD - 1) + 1)
    assert breaker.state(HERE) is Circuit.CLOSED


def test_few_failures_among_many_successes_do_not_open_it(breaker: Breaker) -> None:
    breaker.failed(HERE)
    for _ in range(100):
        breaker.passed(HERE)
    fail(breaker, THRESHOLD)
    assert breaker.state(HERE) is Circuit.CLOSED


def test_every_other_request_failing_opens_it(breaker: Breaker) -> None:
    for _ in range(THRESHOLD):
        breaker.failed(HERE)
        breaker.passed(HERE)
    assert breaker.state(HERE) is Circuit.OPEN


def test_exactly_one_request_probes_when_it_has_cooled(
    breaker: Breaker, clock: HandClock
) -> None:
    fail(breaker)
    assert not breaker.try_enter(HERE)
    clock.pass_by(FIRST_COOLDOWN_S)
    assert breaker.state(HERE) is Circuit.HALF_OPEN
    assert [breaker.try_enter(HERE) for _ in range(3)] == [True, False, False]
    breaker.passed(HERE)
    assert breaker.state(HERE) is Circuit.CLOSED
    assert breaker.quiet


def test_a_probe_that_showed_nothing_lets_the_next_one_in(
    breaker: Breaker, clock: HandClock
) -> None:
    fail(breaker)
    clock.pass_by(FIRST_COOLDOWN_S)
    assert breaker.try_enter(HERE)
    breaker.let_go(HERE)
    assert breaker.state(HERE) is Circuit.HALF_OPEN
    assert breaker.try_enter(HERE)


def test_a_probe_that_was_lost_does_not_block_it_for_good(
    breaker: Breaker, clock: HandClock
) -> None:
    fail(breaker)
    clock.pass_by(FIRST_COOLDOWN_S)
    assert breaker.try_enter(HERE)
    clock.pass_by(PROBE_S)
    assert breaker.try_enter(HERE)


def test_each_failed_probe_doubles_the_cooldown_up_to_a_cap(
    breaker: Breaker, clock: HandClock
) -> None:
    fail(breaker)
    cooldown_s, seen = FIRST_COOLDOWN_S, []
    for _ in range(7):
        clock.pass_by(cooldown_s - 0.5)
        assert not breaker.allows(HERE)
        clock.pass_by(0.5)
        assert breaker.try_enter(HERE)
        breaker.failed(HERE)
        seen.append(cooldown_s)
        cooldown_s = min(cooldown_s * 2, LONGEST_COOLDOWN_S)
    assert seen == [5.0, 10.0, 20.0, 40.0, 80.0, 120.0, 120.0]


def test_a_late_failure_neither_shortens_nor_prolongs_it(
    breaker: Breaker, clock: HandClock
) -> None:
    fail(breaker)
    clock.pass_by(FIRST_COOLDOWN_S - 1)
    breaker.failed(HERE)
    clock.pass_by(1)
    assert breaker.allows(HERE)


def test_what_the_upstream_asks_for_counts_if_it_is_longer(
    breaker: Breaker, clock: HandClock
) -> None:
    for _ in range(THRESHOLD):
        breaker.failed(HERE, retry_after_s=30.0)
    clock.pass_by(29)
    assert not breaker.allows(HERE)
    clock.pass_by(1)
    assert breaker.allows(HERE)


def test_who_has_failed_lately_is_ailing_until_the_window_is_over(
    breaker: Breaker, clock: HandClock
) -> None:
    breaker.failed(HERE)
    assert breaker.is_ailing(HERE)
    assert not breaker.is_ailing(NEXT_DOOR)
    clock.pass_by(WINDOW_S + 1)
    assert not breaker.is_ailing(HERE)
    breaker.passed(HERE)
    assert breaker.quiet


def test_places_that_callers_invent_are_bounded(breaker: Breaker) -> None:
    for number in range(ENTRIES + 10):
        breaker.failed(Where("cloud", f"made-up-{number}"))
    assert len(breaker.tracks) == ENTRIES
