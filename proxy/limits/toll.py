"""The toll: what each request of a usual kind draws on, where that is one number.

A key's requests per minute, say, and no tokens, places or money. Nothing of it is ever
given back, so nothing has to be reserved and settled (bench: CPU per request).
"""

from __future__ import annotations

from proxy.limits.headers import duration
from proxy.state.base import Charge, RateCounters


class Toll:
    """Remembered for requests of one kind, until limits change (`Allowance.toll`)."""

    __slots__ = ("_amount", "_charge", "_heading", "_per_s", "_rates")

    def __init__(self, rates: RateCounters, charge: Charge, heading: str) -> None:
        """`heading` begins what a reply says of it."""
        self._rates = rates
        self._charge = charge
        self._heading = heading
        self._amount = charge.rate.amount + 1e-6
        self._per_s = charge.rate.amount / charge.rate.period_s

    def pay(self) -> str | None:
        """Take one request's; answers the x-ratelimit-* fields of its reply.

        None: nothing was taken, and who refuses or waits is to be asked.
        """
        full_in_s = self._rates.draw(self._charge)
        if full_in_s is None:
            return None
        return (
            f"{self._heading}{int(self._amount - full_in_s * self._per_s)}\r\n"
            f"x-ratelimit-reset-requests: {duration(full_in_s)}\r\n"
        )
