"""Volatile state of one process: plain maps, so that every answer comes at once.

Each map is bounded. What is no news any more (a full bucket, a cooldown that is
over) goes first where it is met, the longest untouched when a map is full.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from proxy.core import clock
from proxy.state import gcra
from proxy.state.base import Charge, Grant, Seen, State, Where
from proxy.state.gcra import TOLERANCE_S
from proxy.state.memory_money import MemoryMoney
from proxy.state.memory_slots import MemorySlots

K = TypeVar("K")
V = TypeVar("V")
Now = Callable[[], float]

ENTRIES: Final = 65_536
"""The most that each map remembers; a few megabytes when all of them are full."""

LONGEST_COOLDOWN_S: Final = 600.0
AFFINITY_TTL_S: Final = 3600.0
_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


class MemoryState:
    """A State within this process. It opens nothing and closes nothing."""

    is_away: Final = False
    alone: Final = _NOTHING
    failed: Final = _NOTHING
    blobs: Final = None
    turns: Final = None

    def __init__(
        self,
        now: Now = clock.monotonic,
        *,
        entries: int = ENTRIES,
        longest_cooldown_s: float = LONGEST_COOLDOWN_S,
        affinity_ttl_s: float = AFFINITY_TTL_S,
        wall: Now = clock.wall,
    ) -> None:
        self.slots = MemorySlots()
        self.rates = MemoryRates(now, entries)
        self.money = MemoryMoney(wall)
        self.cooldowns = MemoryCooldowns(now, entries, longest_cooldown_s)
        self.health = MemoryHealth(now, entries)
        self.affinity = MemoryAffinity(now, entries, affinity_ttl_s)

    async def __aenter__(self) -> State:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None


class MemoryRates:
    def __init__(self, now: Now, entries: int) -> None:
        self._now = now
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._entries = entries

    def try_reserve(self, charges: tuple[Charge, ...]) -> Grant:
        now, full_at, wait_s = self._now(), self._full_at, 0.0
        stands: list[float] = []
        for charge in charges:
            after, wait = gcra.take(full_at.get(charge.key, now), now, charge)
            stands.append(after)
            wait_s = max(wait_s, wait)
        if wait_s:
            stands = [full_at.get(charge.key, now) for charge in charges]
        else:
            for charge, after in zip(charges, stands, strict=True):
                self._set(charge.key, after, now)
        levels = [
            gcra.level(at, now, charge.rate)
            for charge, at in zip(charges, stands, strict=True)
        ]
        return Grant(charges, tuple(levels), wait_s)

    def draw(self, key: str, span_s: float, period_s: float) -> float | None:
        now, full_at = self._now(), self._full_at
        known = full_at.get(key)
        left_s = span_s if known is None or known <= now else known - now + span_s
        if left_s - period_s > TOLERANCE_S:
            return None
        if known is None:
            _put(full_at, key, now + left_s, self._entries)
        else:  # nothing has to go for it
            full_at[key] = now + left_s
            full_at.move_to_end(key)
        return left_s

    async def reserve(self, charges: tuple[Charge, ...]) -> Grant:
        return self.try_reserve(charges)

    def settle(self, grant: Grant, costs: tuple[float, ...]) -> None:
        if not grant.granted:
            return
        now = self._now()
        for charge, level, cost in zip(grant.charges, grant.levels, costs, strict=True):
            known = self._full_at.get(charge.key, now)
            settled = gcra.settled(known, now, charge, level.until, cost)
            self._set(charge.key, settled, now)

    def _set(self, key: str, full_at: float, now: float) -> None:
        if full_at <= now:
            self._full_at.pop(key, None)
            return
        _put(self._full_at, key, full_at, self._entries)

    def __len__(self) -> int:
        return len(self._full_at)


class MemoryCooldowns:
    def __init__(self, now: Now, entries: int, longest_s: float) -> None:
        self._now = now
        self._entries = entries
        self._longest_s = longest_s
        self.resting: OrderedDict[Where, float] = OrderedDict()
        """What is left alone, and until when."""

    def start(self, where: Where, seconds: float) -> float:
        now = self._now()
        wanted = now + min(max(seconds, 0.0), self._longest_s)
        ends_at = max(self.resting.get(where, now), wanted)
        if ends_at > now:
            _put(self.resting, where, ends_at, self._entries)
        return ends_at - now

    def remaining_s(self, where: Where) -> float:
        ends_at = self.resting.get(where)
        if ends_at is None:
            return 0.0
        remaining = ends_at - self._now()
        if remaining > 0.0:
            return remaining
        del self.resting[where]
        return 0.0

    def end(self, where: Where) -> None:
        self.resting.pop(where, None)

    def __len__(self) -> int:
        return len(self.resting)


class MemoryHealth:
    def __init__(self, now: Now, entries: int) -> None:
        self._now = now
        self._entries = entries
        self._seen: OrderedDict[Where, tuple[str, int, float]] = OrderedDict()

    def note(self, where: Where, status: str, *, failed: bool) -> int:
        known = self._seen.get(where)
        failures = (1 if known is None else known[1] + 1) if failed else 0
        _put(self._seen, where, (status, failures, self._now()), self._entries)
        return failures

    def last(self, where: Where) -> Seen | None:
        known = self._seen.get(where)
        if known is None:
            return None
        status, failures, at = known
        return Seen(status, failures, self._now() - at)

    def forget(self, where: Where) -> None:
        self._seen.pop(where, None)

    def __len__(self) -> int:
        return len(self._seen)


class MemoryAffinity:
    def __init__(self, now: Now, entries: int, ttl_s: float) -> None:
        self._now = now
        self._entries = entries
        self._ttl_s = ttl_s
        self._served: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def get(self, key: str) -> str | None:
        known = self._served.get(key)
        if known is None:
            return None
        provider_id, ends_at = known
        if ends_at <= self._now():
            del self._served[key]
            return None
        self._served.move_to_end(key)
        return provider_id

    def put(self, key: str, provider_id: str) -> None:
        _put(self._served, key, (provider_id, self._now() + self._ttl_s), self._entries)

    def forget(self, key: str) -> None:
        self._served.pop(key, None)

    def __len__(self) -> int:
        return len(self._served)


def _put(entries: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    """Remember a value as the newest; forget the longest untouched beyond `most`."""
    entries[key] = value
    entries.move_to_end(key)
    if len(entries) > most:
        entries.popitem(last=False)
