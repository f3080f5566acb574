"""What is particular to one process: answers at once, maps that stay bounded.

The rest is in tests/contract/state.
"""

from __future__ import annotations

from proxy.state.base import Charge, Rate, Where
from proxy.state.memory import MemoryState
from tests.fakes.hand_clock import HandClock

ONCE = Rate(amount=1, period_s=10.0)


def filled() -> tuple[MemoryState, HandClock]:
    clock = HandClock()
    state = MemoryState(clock, entries=10)
    for number in range(100):
        name = str(number)
        state.rates.try_reserve((Charge(name, ONCE, 1),))
        state.cooldowns.start(Where(name), 10)
        state.health.note(Where(name), "online", failed=False)
        state.affinity.put(name, "gpu")
    return state, clock


def test_every_map_is_bounded() -> None:
    state, _ = filled()
    maps = (state.rates, state.cooldowns, state.health, state.affinity)
    assert [len(entries) for entries in maps] == [10, 10, 10, 10]


def test_the_newest_stay() -> None:
    state, _ = filled()
    assert not state.rates.try_reserve((Charge("99", ONCE, 1),)).granted
    assert state.rates.try_reserve((Charge("0", ONCE, 1),)).granted
    assert state.cooldowns.remaining_s(Where("99")) == 10
    assert state.cooldowns.remaining_s(Where("0")) == 0


def test_what_is_over_is_dropped_when_it_is_met() -> None:
    state, clock = filled()
    clock.pass_by(10_000)
    assert state.cooldowns.remaining_s(Where("99")) == 0
    assert state.affinity.get("99") is None
    assert len(state.cooldowns) == len(state.affinity) == 9


def test_a_full_bucket_is_not_remembered() -> None:
    state = MemoryState(HandClock())
    grant = state.rates.try_reserve((Charge("a", ONCE, 1),))
    state.rates.settle(grant, (0,))
    assert len(state.rates) == 0
