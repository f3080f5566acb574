"""What is no call of a model and counts all the same: limits of requests, and a record.

For handlers outside the spine (`/execute`). They are held to how many requests there may
be, in a time and at once; they use no tokens of a model and no money.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from proxy.auth.client_address import group_of
from proxy.core.types import Principal, Record
from proxy.limits.plan import Plan
from proxy.limits.rate import LimitReached, RateLimits, Reserved


class Metering(Struct, frozen=True):
    """`report` takes the record of what has ended; `refused` counts by code."""

    limits: RateLimits
    refused: Counter[str]
    report: Callable[[Record], object]

    async def reserve(self, principal: Principal, peer: str) -> Reserved | None:
        """Answer what is to be ended with the request; None where nothing limits it.

        Raises LimitReached.
        """
        plan = self._plan(principal, peer)
        if plan is None:
            return None
        try:
            return await self.limits.reserve(plan, 0)
        except LimitReached as error:
            self.refused[error.code] += 1
            raise

    def _plan(self, principal: Principal, peer: str) -> Plan | None:
        is_known = principal.key is not None or principal.user is not None
        found = self.limits.plan_of(principal, "" if is_known else group_of(peer))
        if found is None or not (found.requests or found.bounds):
            return None
        return Plan(found.requests, (), found.bounds)
