"""Whether the server is there, and what this process may do while it is not.

Then each process keeps what it holds and takes more only up to its share: the limit
divided by the processes there were, at least one, as a request that is served beside
another is better than one that is lost. The same bound holds for a moment after the
server has come back, until all have said again what they hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from proxy.core import clock

SETTLE_BEATS: Final = 2.5
"""By then all processes have found the server again: they look for it twice a beat."""


class Standing:
    """`alone` counts what was granted without asking, by kind; `losses` how often the
    server was lost. `processes` are those that live, as far as known.
    """

    def __init__(
        self,
        processes: int,
        settle_s: float,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self.is_away = True
        self.losses = 0
        self.alone = {"slots": 0, "rates": 0, "budgets": 0}
        self.processes = max(1, processes)
        self._settle_s = settle_s
        self._now = now
        self._settled_at = 0.0

    @property
    def is_settling(self) -> bool:
        return self._now() < self._settled_at

    def come_back(self) -> None:
        self.is_away = False
        self._settled_at = self._now() + self._settle_s

    def lose(self) -> None:
        self.losses += not self.is_away
        self.is_away = True

    def count(self, processes: int) -> None:
        """Take over how many live; one that is not back yet is still counted."""
        if self.is_away or self.is_settling:
            processes = max(processes, self.processes)
        self.processes = max(1, processes)

    def share(self, limit: int) -> int:
        """Answer how many of a limit this process may hold on its own."""
        return min(limit, max(1, limit // self.processes))

    def ceiling(self, limit: int) -> int:
        """Answer how many it may hold at most when it asks."""
        return self.share(limit) if self.is_settling else limit
