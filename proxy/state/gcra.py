"""The arithmetic of allowances: the generic cell rate algorithm, with costs.

An allowance is one number: the time at which its bucket will be full again if
nothing more is taken. Taking moves it forward, by the period for a whole bucket;
what would move it further ahead of now than one period has to wait. Pure, so that
every implementation of the state counts alike.
"""

from __future__ import annotations

from typing import Final

from proxy.state.base import Charge, Level, Rate

TOLERANCE_S: Final = 1e-6
"""Who waits exactly as long as told shall not be refused by the last bit."""


def span_s(rate: Rate, cost: float) -> float:
    """Answer how long a cost takes to fill up again; at most the whole bucket."""
    return min(max(cost, 0.0), rate.amount) * rate.period_s / rate.amount


def charged(full_at: float, now: float, charge: Charge) -> float:
    """Answer when the bucket is full again after a charge."""
    return max(full_at, now) + span_s(charge.rate, charge.cost)


def wait_s(full_at: float, now: float, charge: Charge) -> float:
    """Answer how long the charge has to wait: 0.0 when it can be had now."""
    wait = charged(full_at, now, charge) - charge.rate.period_s - now
    return wait if wait > TOLERANCE_S else 0.0


def take(full_at: float, now: float, charge: Charge) -> tuple[float, float]:
    """Answer `charged` and `wait_s` at once (bench: CPU per request)."""
    cost = charge.cost
    rate = charge.rate
    amount, period_s = rate.amount, rate.period_s
    if cost > amount:
        cost = amount
    elif cost < 0.0:
        cost = 0.0
    after = (max(now, full_at)) + cost * period_s / amount
    wait = after - period_s - now
    return after, wait if wait > TOLERANCE_S else 0.0


def settled(full_at: float, now: float, charge: Charge, until: float,
            cost: float) -> float:  # fmt: skip
    """Answer when the bucket is full once the charge that ended at `until` costs `cost`.

    What of it has filled up in the meantime is gone: giving it back as well would
    give more than the bucket holds.
    """
    change = span_s(charge.rate, cost) - span_s(charge.rate, charge.cost)
    if change >= 0.0:
        return max(full_at, now) + change if change else full_at
    return full_at - min(-change, max(0.0, until - now))


def level(full_at: float, now: float, rate: Rate) -> Level:
    """Answer how the allowance stands; `until` is the end of what is taken."""
    taken_s = full_at - now
    if taken_s <= 0.0:
        return Level(rate.amount, 0.0, full_at)
    amount, period_s = rate.amount, rate.period_s
    remaining = amount - taken_s / period_s * amount
    return Level(max(0.0, remaining), taken_s, full_at)
