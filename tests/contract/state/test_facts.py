"""Cooldowns, health and affinity."""

from __future__ import annotations

import pytest

from proxy.state.base import Seen, State, Where
from tests.contract.state.conftest import AFFINITY_TTL_S, ENTRIES, LONGEST_COOLDOWN_S
from tests.fakes.hand_clock import HandClock

MODEL = Where("gpu", "qwen")


def test_a_cooldown_ends_by_itself(state: State, clock: HandClock) -> None:
    assert state.cooldowns.remaining_s(MODEL) == 0
    state.cooldowns.start(MODEL, 10)
    clock.pass_by(4)
    assert state.cooldowns.remaining_s(MODEL) == pytest.approx(6)
    clock.pass_by(6)
    assert state.cooldowns.remaining_s(MODEL) == 0


def test_of_two_cooldowns_the_later_end_counts(state: State, clock: HandClock) -> None:
    state.cooldowns.start(MODEL, 60)
    assert state.cooldowns.start(MODEL, 5) == pytest.approx(60)
    clock.pass_by(50)
    assert state.cooldowns.start(MODEL, 30) == pytest.approx(30)


def test_no_cooldown_is_longer_than_the_cap(state: State) -> None:
    assert state.cooldowns.start(MODEL, 1e9) == pytest.approx(LONGEST_COOLDOWN_S)


def test_a_cooldown_of_a_model_leaves_the_others_alone(state: State) -> None:
    state.cooldowns.start(MODEL, 10)
    assert state.cooldowns.remaining_s(Where("gpu", "llama")) == 0
    assert state.cooldowns.remaining_s(Where("gpu")) == 0


def test_a_cooldown_can_be_ended(state: State) -> None:
    state.cooldowns.start(MODEL, 10)
    state.cooldowns.end(MODEL)
    assert state.cooldowns.remaining_s(MODEL) == 0


def test_failures_are_counted_in_a_row(state: State) -> None:
    assert [state.health.note(MODEL, "degraded", failed=True) for _ in range(2)] == [
        1,
        2,
    ]
    assert state.health.note(MODEL, "online", failed=False) == 0
    assert state.health.note(MODEL, "degraded", failed=True) == 1


def test_health_says_what_was_seen_and_how_long_ago(
    state: State, clock: HandClock
) -> None:
    assert state.health.last(MODEL) is None
    state.health.note(MODEL, "offline", failed=True)
    clock.pass_by(5)
    assert state.health.last(MODEL) == Seen("offline", 1, pytest.approx(5))
    state.health.forget(MODEL)
    assert state.health.last(MODEL) is None


def test_affinity_lasts_for_its_time_from_the_last_answer(
    state: State, clock: HandClock
) -> None:
    state.affinity.put("session", "gpu")
    clock.pass_by(AFFINITY_TTL_S - 1)
    state.affinity.put("session", "other")
    clock.pass_by(AFFINITY_TTL_S - 1)
    assert state.affinity.get("session") == "other"
    clock.pass_by(1)
    assert state.affinity.get("session") is None


def test_affinity_can_be_forgotten(state: State) -> None:
    state.affinity.put("session", "gpu")
    state.affinity.forget("session")
    state.affinity.forget("session")
    assert state.affinity.get("session") is None


def test_affinity_keeps_what_was_used_last(state: State) -> None:
    for number in range(ENTRIES):
        state.affinity.put(str(number), "gpu")
    assert state.affinity.get("0") == "gpu"
    state.affinity.put("one more", "gpu")
    assert state.affinity.get("0") == "gpu"
    assert state.affinity.get("1") is None
