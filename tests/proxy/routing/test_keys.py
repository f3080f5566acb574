from __future__ import annotations

import pytest

from proxy.routing.keys import REFUSED_S, KeyRing
from proxy.routing.model import Candidate
from proxy.state.memory import MemoryState
from tests.fakes.hand_clock import HandClock
from tests.fakes.kinds import provider


class Bench:
    def __init__(self, *keys: str) -> None:
        self.clock = HandClock()
        self.cooldowns = MemoryState(self.clock).cooldowns
        self.ring = KeyRing(self.cooldowns)
        self.cloud = provider("cloud", kind="openai", keys=keys)
        self.gpt = Candidate(self.cloud, "gpt")

    @property
    def rests_s(self) -> float:
        return self.cooldowns.remaining_s(self.gpt.where)


@pytest.mark.parametrize("keys", [(), ("k1",)])
def test_with_one_key_the_model_rests_at_once(keys: tuple[str, ...]) -> None:
    bench = Bench(*keys)
    bench.ring.limited(bench.gpt, 0, 10.0)
    assert bench.rests_s == 10.0
    assert bench.ring.first(bench.gpt) == 0


def test_a_limited_key_is_passed_over_until_it_has_rested() -> None:
    bench = Bench("k1", "k2", "k3")
    bench.ring.limited(bench.gpt, 0, 10.0)
    assert (bench.ring.first(bench.gpt), bench.rests_s) == (1, 0.0)
    bench.ring.limited(bench.gpt, 1, 10.0)
    assert bench.ring.first(bench.gpt) == 2
    bench.clock.pass_by(10.0)
    assert bench.ring.first(bench.gpt) == 0


def test_with_the_last_key_the_model_rests_until_the_first_is_back() -> None:
    bench = Bench("k1", "k2")
    bench.ring.limited(bench.gpt, 0, 10.0)
    bench.clock.pass_by(4.0)
    bench.ring.limited(bench.gpt, 1, 30.0)
    assert bench.rests_s == 6.0


def test_another_model_goes_on_with_the_first_key() -> None:
    bench = Bench("k1", "k2")
    bench.ring.limited(bench.gpt, 0, 10.0)
    assert bench.ring.first(Candidate(bench.cloud, "other")) == 0


def test_a_refused_key_is_passed_over_only_where_there_is_another() -> None:
    bench = Bench("k1", "k2")
    bench.ring.refused(bench.gpt, 0)
    assert bench.ring.first(bench.gpt) == 1
    bench.clock.pass_by(REFUSED_S)
    assert bench.ring.first(bench.gpt) == 0
    alone = Bench("k1")
    alone.ring.refused(alone.gpt, 0)
    assert len(alone.cooldowns) == 0
