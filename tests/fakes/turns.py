"""Turns of several processes without a server: who looks, and what was seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.state.base import Turn


@dataclass
class FakeTurns:
    """Any number of processes may share one; leases end with `end` alone."""

    now: Callable[[], float]
    seen: dict[str, tuple[float, bytes]] = field(default_factory=dict)
    looks: set[str] = field(default_factory=set)

    async def ask(self, about: str, max_age_s: float, lease_s: float) -> Turn:
        at, found = self.seen.get(about, (float("-inf"), b""))
        if self.now() - at < max_age_s:
            return Turn(is_mine=False, found=found)
        if about in self.looks:
            return Turn(is_mine=False)
        self.looks.add(about)
        return Turn(is_mine=True)

    async def end(self, about: str, found: bytes, keep_s: float) -> None:
        self.looks.discard(about)
        if found:
            self.seen[about] = self.now(), found
