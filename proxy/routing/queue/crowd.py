"""All who wait: each one's place, counted by holder, and the lines it stands in.

Knows neither slots nor time; an answer is given by the queue.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from proxy.routing.model import Candidate
from proxy.routing.queue.claim import Waiter
from proxy.routing.queue.line import Line


class Crowd:
    """`lines` are those of providers that somebody waits for, by id."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self._waiters: OrderedDict[int, Waiter] = OrderedDict()
        self._places: dict[str, OrderedDict[int, Waiter]] = {}

    def __len__(self) -> int:
        return len(self._waiters)

    def __iter__(self) -> Iterator[Waiter]:
        """Go through all as of now; they may leave meanwhile."""
        return iter(tuple(self._waiters.values()))

    @property
    def oldest(self) -> Waiter | None:
        return next(iter(self._waiters.values()), None)

    def in_line(self, provider_ids: Iterable[str]) -> int:
        """Count those who wait for one of the providers; some twice, but not beyond
        all there are.
        """
        counted = sum(len(self.lines.get(id_, ())) for id_ in provider_ids)
        return min(counted, len(self._waiters))

    def add(self, waiter: Waiter) -> None:
        self._waiters[waiter.number] = waiter
        places = self._places.setdefault(waiter.claim.holder, OrderedDict())
        places[waiter.number] = waiter
        self._put_in_line(waiter)

    def remove(self, waiter: Waiter) -> None:
        """Take it out of everything; a second time does nothing."""
        if self._waiters.pop(waiter.number, None) is None:
            return
        places = self._places[waiter.claim.holder]
        del places[waiter.number]
        if not places:
            del self._places[waiter.claim.holder]
        self._take_out_of_line(waiter)

    def move(self, waiter: Waiter, candidates: tuple[Candidate, ...]) -> None:
        """Let it wait for others; it keeps its place."""
        self._take_out_of_line(waiter)
        waiter.candidates = candidates
        self._put_in_line(waiter)

    def who_gives_way(self, holder: str, coming: int = 1) -> Waiter | None:
        """Answer whose place a newcomer of this holder gets: the newest of the holder
        with the most places. None when that is the newcomer, counted already; `coming`
        is 0 where it is in here.
        """
        most = max(map(len, self._places.values()), default=0)
        if most <= len(self._places.get(holder, ())) + coming:
            return None
        newest = max(
            next(reversed(places))
            for places in self._places.values()
            if len(places) == most
        )
        return self._waiters[newest]

    def _put_in_line(self, waiter: Waiter) -> None:
        for id_ in _providers(waiter):
            line = self.lines.get(id_)
            if line is None:
                line = self.lines[id_] = Line(id_)
            line.add(waiter)

    def _take_out_of_line(self, waiter: Waiter) -> None:
        for id_ in _providers(waiter):
            line = self.lines.get(id_)
            if line is not None:
                line.remove(waiter)
                if not line:
                    del self.lines[id_]


def _providers(waiter: Waiter) -> set[str]:
    return {candidate.provider.id for candidate in waiter.candidates}
