"""Slots of one process: a count for each key, found once by whoever comes again.

A count lives as long as anybody has a place that counts there: a lease, who will take
it again, or the places that are kept here, bounded by what is held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

from proxy.state.base import Bound

PLACES: Final = 4096
"""So many are kept here, and more only as far as something is held of them."""


class _Count:
    """How many are held of one key: the same for all whose bounds name it."""

    __slots__ = ("__weakref__", "held")

    def __init__(self) -> None:
        self.held = 0


class MemoryPlace:
    """Bounds whose counts are at hand (bench: CPU per request)."""

    __slots__ = ("_counts", "_limited")

    def __init__(self, counts: tuple[_Count, ...], bounds: tuple[Bound, ...]) -> None:
        self._counts = counts
        self._limited = tuple(
            (count, limit)
            for count, (_, limit) in zip(counts, bounds, strict=True)
            if limit is not None
        )

    def try_take(self) -> bool:
        for count, limit in self._limited:
            if count.held >= limit:
                return False
        for count in self._counts:
            count.held += 1
        return True

    def ask(self) -> None:
        """All is known."""

    def give_back(self) -> None:
        for count in self._counts:
            count.held -= 1

    @property
    def has_room(self) -> bool:
        return all(count.held < limit for count, limit in self._limited)

    @property
    def held(self) -> frozenset[_Count]:
        """Those of its counts that are more than zero, be it through another place."""
        return frozenset(count for count in self._counts if count.held)


class MemorySlots:
    """Counts; places that are not needed to keep what is held go when there are many."""

    def __init__(self) -> None:
        self._counts: WeakValueDictionary[str, _Count] = WeakValueDictionary()
        self._places: dict[tuple[Bound, ...], MemoryPlace] = {}
        self._most = PLACES

    def place(self, bounds: tuple[Bound, ...]) -> MemoryPlace:
        place = self._places.get(bounds)
        if place is None:
            if len(self._places) >= self._most:
                self._drop_idle()
            counts = tuple(self._count(key) for key, _ in bounds)
            place = self._places[bounds] = MemoryPlace(counts, bounds)
        return place

    def try_take(self, bounds: tuple[Bound, ...], *, ask: bool = True) -> bool:
        return self.place(bounds).try_take()

    def give_back(self, bounds: tuple[Bound, ...]) -> None:
        self.place(bounds).give_back()

    def has_room(self, bounds: tuple[Bound, ...]) -> bool:
        return self.place(bounds).has_room

    def is_asked(self, bounds: tuple[Bound, ...]) -> bool:
        """Nobody has to be asked."""
        return False

    def held(self, key: str) -> int:
        count = self._counts.get(key)
        return 0 if count is None else count.held

    def watch(self, callback: Callable[[], None]) -> None:
        """Nobody else takes or gives back."""

    def __len__(self) -> int:
        """Answer of how many keys something is held."""
        return sum(count.held > 0 for count in self._counts.values())

    def _count(self, key: str) -> _Count:
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = _Count()
        return count

    def _drop_idle(self) -> None:
        needed: dict[tuple[Bound, ...], MemoryPlace] = {}
        kept: set[_Count] = set()
        for bounds, place in self._places.items():
            if not place.held <= kept:
                needed[bounds] = place
                kept |= place.held
        self._places = needed
        self._most = max(PLACES, 2 * len(needed))
