"""How often a provider may be asked the same again: a share of what it is asked.

So that a host which fails half of its requests does not get twice as many. Only
retries at the same provider count: who goes on to another one does not double
anybody's load.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from proxy.core import clock

WINDOW_S: Final = 60.0
FLOOR: Final = 3
"""Retries that are always allowed within a window: few requests have no share."""


class RetryBudget:
    """Counts requests and retries by provider id, over the last one to two windows."""

    def __init__(
        self, ratio: float, now: Callable[[], float] = clock.monotonic
    ) -> None:
        self.ratio = ratio
        self._now = now
        self._turns_at = now() + WINDOW_S
        self.requests: defaultdict[str, int] = defaultdict(int)
        """As `asked` counts, for whom a call is too much (bench: CPU per request)."""
        self._retries: dict[str, int] = {}
        self._before: tuple[dict[str, int], dict[str, int]] = ({}, {})

    def asked(self, provider_id: str) -> None:
        """Count a request."""
        self.requests[provider_id] += 1

    def try_retry(self, provider_id: str) -> bool:
        """Take one retry out of the budget; False when it is used up."""
        self._turn()
        requests = self._sum(0, provider_id, self.requests)
        retries = self._sum(1, provider_id, self._retries)
        if retries >= max(FLOOR, self.ratio * requests) or not self.ratio:
            return False
        self._retries[provider_id] = self._retries.get(provider_id, 0) + 1
        return True

    def _sum(self, kind: int, provider_id: str, current: dict[str, int]) -> int:
        return self._before[kind].get(provider_id, 0) + current.get(provider_id, 0)

    def _turn(self) -> None:
        """Begin a new window where the time has come; who asks for a retry looks."""
        late_s = self._now() - self._turns_at
        if late_s < 0:
            return
        # What was counted in a window that ended long ago says nothing of now.
        fresh = late_s < WINDOW_S
        self._before = (self.requests, self._retries) if fresh else ({}, {})
        self.requests, self._retries = defaultdict(int), {}
        self._turns_at = self._now() + WINDOW_S
