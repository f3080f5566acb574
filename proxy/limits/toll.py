"""The toll: what each request of a usual kind draws on, where that is one number.

A key's requests per minute, say, and no tokens, places or money. Nothing of it is ever
given back, so nothing has to be reserved and settled (bench: CPU per request).
"""

from __future__ import annotations

from proxy.limits.headers import duration, rate_lines
from proxy.state.base import Charge, RateCounters
from proxy.state.gcra import level, span_s


class Toll:
    """Remembered for requests of one kind, until limits change (`Allowance.toll`)."""

    __slots__ = (
        "_amount",
        "_heading",
        "_key",
        "_lines_if_first",
        "_per_s",
        "_period_s",
        "_rates",
        "_span_s",
    )

    def __init__(self, rates: RateCounters, charge: Charge, heading: str) -> None:
        """`heading` begins what a reply says of it."""
        self._rates = rates
        self._heading = heading
        rate, self._key = charge.rate, charge.key
        self._span_s, self._period_s = span_s(rate, charge.cost), rate.period_s
        self._amount, self._per_s = rate.amount + 1e-6, rate.amount / rate.period_s
        first = level(self._span_s, 0.0, rate)
        self._lines_if_first = rate_lines("requests", (heading,), (first,))

    def pay(self) -> str | None:
        """Take one request's; answers the x-ratelimit-* fields of its reply.

        None: nothing was taken, and who refuses or waits is to be asked.
        """
        full_in_s = self._rates.draw(self._key, self._span_s, self._period_s)
        if full_in_s == self._span_s:  # whatever was taken before is filled up again
            return self._lines_if_first
        if full_in_s is None:
            return None
        return (
            f"{self._heading}{int(self._amount - full_in_s * self._per_s)}\r\n"
            f"x-ratelimit-reset-requests: {duration(full_in_s)}\r\n"
        )
