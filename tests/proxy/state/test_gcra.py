from __future__ import annotations

import pytest

from proxy.state import gcra
from proxy.state.base import Charge, Rate

RATE = Rate(amount=10, period_s=5.0)


@pytest.mark.parametrize(("cost", "span_s"), [(0, 0), (1, 0.5), (10, 5), (99, 5)])
def test_a_cost_takes_its_share_of_the_period(cost: float, span_s: float) -> None:
    assert gcra.span_s(RATE, cost) == pytest.approx(span_s)


def test_a_negative_cost_fills_nothing() -> None:
    assert gcra.span_s(RATE, -5) == 0


def test_who_waits_as_told_is_let_in_in_spite_of_rounding() -> None:
    full_at, now, charge = 1e6 + 1 / 3, 1e6, Charge("a", RATE, 9.9)
    wait_s = gcra.wait_s(full_at, now, charge)
    assert wait_s > 0
    assert gcra.wait_s(full_at, now + wait_s, charge) == 0


def test_a_debt_larger_than_the_bucket_leaves_nothing_rather_than_less() -> None:
    level = gcra.level(107.0, 100.0, RATE)
    assert (level.remaining, level.reset_s) == (0, 7)
