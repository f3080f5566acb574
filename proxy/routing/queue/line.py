"""The order in which waiters get the slots of one provider. Pure: it holds no slot.

The lowest priority first, and one that is late counts as 0. Within a priority
holders take turns: each has a clock that moves on when it is served, who is least
far gets the slot (start-time fair queueing), so a holder with a hundred waiters is
served as often as one with a single one. Within a holder, who came first.

Waiters that became 0 by being late take turns with those who are 0 by themselves:
neither can keep the other out, however many holders there are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeVar

from proxy.routing.model import Candidate
from proxy.routing.queue.claim import Waiter

V = TypeVar("V")

Standing = tuple[int, str]
"""A holder at a priority."""

_IDLE_SHARES: Final = 1024
"""Clocks kept of holders with nobody in line, or coming back would pay."""


Rank = tuple[int, int, float, int]
"""Priority, turn, how far ahead its holder is, number: the lowest is served first."""

Head = tuple[Rank, Waiter, Candidate]


class Pick(NamedTuple):
    """Who is next, for what, and who of another model is overtaken by that."""

    rank: Rank
    waiter: Waiter
    candidate: Candidate
    overtaken: Waiter | None = None


class _Share:
    """What one holder has in line at one priority: by model, who came first."""

    __slots__ = ("clock", "models")

    def __init__(self, clock: float) -> None:
        self.clock = clock
        self.models: dict[str, OrderedDict[int, tuple[Waiter, Candidate]]] = {}


class Line:
    """Those who wait for one provider, perhaps for others too."""

    def __init__(self, provider_id: str) -> None:
        self.provider_id: Final = provider_id
        self._waiters: OrderedDict[int, Waiter] = OrderedDict()
        self._shares: dict[Standing, _Share] = {}
        self._idle: OrderedDict[Standing, float] = OrderedDict()
        self._clocks: dict[int, float] = {}
        self._late_go_next = True

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def oldest(self) -> Waiter | None:
        return next(iter(self._waiters.values()), None)

    def add(self, waiter: Waiter) -> None:
        """Put a waiter at its place, by its number: one that comes back keeps it."""
        standing = _standing(waiter)
        share = self._shares.get(standing)
        if share is None:
            floor = self._clocks.setdefault(standing[0], 0.0)
            share = _Share(max(floor, self._idle.pop(standing, 0.0)))
            self._shares[standing] = share
        for candidate in self._candidates(waiter):
            waiters = share.models.setdefault(candidate.upstream_model, OrderedDict())
            if waiter.number not in waiters:
                _insert(waiters, waiter.number, (waiter, candidate))
        _insert(self._waiters, waiter.number, waiter)

    def remove(self, waiter: Waiter) -> None:
        if self._waiters.pop(waiter.number, None) is None:
            return
        standing = _standing(waiter)
        share = self._shares[standing]
        for candidate in self._candidates(waiter):
            waiters = share.models.get(candidate.upstream_model)
            if waiters is not None:
                waiters.pop(waiter.number, None)
                if not waiters:
                    del share.models[candidate.upstream_model]
        if not share.models:
            del self._shares[standing]
            self._idle[standing] = share.clock
            if len(self._idle) > _IDLE_SHARES:
                self._idle.popitem(last=False)

    def pick(
        self, now: float, loaded: str | None, fits: Callable[[Candidate], bool]
    ) -> Pick | None:
        """Answer who is next of those whose candidate fits; changes nothing.

        `loaded` is the model that needs no swap: its best may go ahead of the best
        of all, where they are equals and that one still can wait.
        """
        heads = self._heads(now, fits)
        if not heads:
            return None
        best = min(heads, key=_rank)
        of_loaded = [head for head in heads if head[2].upstream_model == loaded]
        if not of_loaded:
            return Pick(*best)
        ready = min(of_loaded, key=_rank)
        if ready[1] is best[1]:
            return Pick(*ready)
        are_equals = best[0][:2] == ready[0][:2]
        if are_equals and best[1].may_be_overtaken(now):
            return Pick(*ready, overtaken=best[1])
        return Pick(*best)

    def serve(self, pick: Pick) -> None:
        """Note that a pick gets its slot, and take it out of the line."""
        priority, _ = standing = _standing(pick.waiter)
        share = self._shares[standing]
        self._clocks[priority] = max(self._clocks[priority], share.clock)
        share.clock += 1.0
        if pick.rank[0] == 0:
            self._late_go_next = priority == 0
        if pick.overtaken is not None:
            pick.overtaken.overtaken += 1
        self.remove(pick.waiter)

    def _heads(self, now: float, fits: Callable[[Candidate], bool]) -> list[Head]:
        """List the first of each holder, priority and model that can be served.

        Plain tuples: with hundreds of holders this is most of what a wait costs.
        """
        fitting: dict[str, bool] = {}
        heads: list[Head] = []
        for (priority, _), share in self._shares.items():
            ahead = share.clock - self._clocks[priority]
            for model, waiters in share.models.items():
                waiter, candidate = next(iter(waiters.values()))
                can = fitting.get(model)
                if can is None:
                    can = fitting[model] = fits(candidate)
                if can:
                    late = priority > 0 and now >= waiter.late_at
                    shown = 0 if late else priority
                    turn = int(shown == 0 and late is not self._late_go_next)
                    rank = (shown, turn, ahead, waiter.number)
                    heads.append((rank, waiter, candidate))
        return heads

    def _candidates(self, waiter: Waiter) -> Iterator[Candidate]:
        return (c for c in waiter.candidates if c.provider.id == self.provider_id)


def _rank(head: Head) -> Rank:
    return head[0]


def _standing(waiter: Waiter) -> Standing:
    return (waiter.claim.priority, waiter.claim.holder)


def _insert(ordered: OrderedDict[int, V], number: int, value: V) -> None:
    """Put it where its number belongs: nearly always the end."""
    latest = next(reversed(ordered), number)
    ordered[number] = value
    if latest > number:
        in_order = sorted(ordered.items())
        ordered.clear()
        ordered.update(in_order)
