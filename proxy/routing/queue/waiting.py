"""The queue: who finds no free slot waits here, bounded in number and in time.

A slot that comes free goes at once to the best waiter who can use it (`line` says
who that is), and nobody who comes later overtakes him. It starts no task and no
timer: a wait is one future, deadlines are the ticker's. A request that finds a slot
passes by without either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from proxy.config.schema import QueueConfig
from proxy.core import clock
from proxy.core.errors import GatewayError, GatewayFault, ProviderFault
from proxy.routing.model import Candidate
from proxy.routing.queue.claim import Claim, Waiter
from proxy.routing.queue.crowd import Crowd
from proxy.routing.queue.line import Line
from proxy.routing.queue.pace import held_s
from proxy.routing.slots import Lease, Slots

RETRY_AFTER_LEAST_S: Final = 1.0

MOST_ASKING: Final = 4096
"""Who waits for other processes' answers, beside those who wait for a slot."""

ANSWERED_S: Final = 2.0
"""By then any answer has come, whatever was asked since."""


class Presence(NamedTuple):
    """How many wait, and how long the first of them has."""

    length: int
    oldest_s: float


class Leasing:
    """`async with` gives a lease, waiting for it if need be, and ends it."""

    __slots__ = ("_claim", "_lease", "_queue")

    def __init__(self, queue: Queue, claim: Claim) -> None:
        self._queue = queue
        self._claim = claim
        self._lease: Lease | None = None

    async def __aenter__(self) -> Lease:
        lease = self._queue.try_lease(self._claim)
        if lease is None:
            lease = await self._queue.wait(self._claim)
        self._lease = lease
        return lease

    async def __aexit__(self, *_: object) -> None:
        if self._lease is not None:
            self._lease.release()


class Queue:
    """All who wait for slots, whatever the provider.

    `may_serve` says whether a candidate may be given a request now (a breaker that
    is open, a model that cools down); it is asked again at every tick.
    """

    def __init__(
        self,
        slots: Slots,
        config: QueueConfig,
        ticker: clock.Ticker,
        now: Callable[[], float] = clock.monotonic,
        may_serve: Callable[[Candidate], bool] = lambda _: True,
    ) -> None:
        self._slots = slots
        self._config = config
        self._ticker = ticker
        self._now = now
        self._may_serve = may_serve
        self._crowd = Crowd()
        self.lines = self._crowd.lines  # empty while nobody waits for anything
        self._asking: dict[int, Waiter] = {}
        self._number = 0
        slots.on_free(self._freed, self.lines)
        slots.on_news(self.wake)

    def load(self, config: QueueConfig) -> None:
        """Take a bound and a time for those who come from now on."""
        self._config = config

    # -- asking for a slot ----------------------------------------------------------

    def lease(self, claim: Claim) -> Leasing:
        """Answer what `async with` waits on.

        Raises GatewayFault `queue_full` when there is no place to wait or it has to
        be given up, `provider_capacity_exceeded` at the deadline, and what
        `claim.choose` raises when the providers change.
        """
        return Leasing(self, claim)

    def try_lease(self, claim: Claim) -> Lease | None:
        """Take a slot as `take` does."""
        return self.take(claim.candidates)

    def take(self, candidates: tuple[Candidate, ...]) -> Lease | None:
        """Take a slot of the first candidate that has one for a newcomer.

        While others have to be asked about one, no worse one is taken.
        """
        for candidate in candidates:
            if self._crowd.lines:
                self._serve_first(candidate)
            lease = self._slots.try_lease(candidate)
            if lease is not None:
                return lease
            if self._slots.ask(candidate):
                return None
        return None

    def with_room(self, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
        """Answer those of which a newcomer would get a slot now, in the same order."""
        found: list[Candidate] = []
        for candidate in candidates:
            if self._crowd.lines:
                self._serve_first(candidate)
            if self._slots.has_room(candidate):
                found.append(candidate)
        return tuple(found)

    async def wait(self, claim: Claim) -> Lease:
        """Wait for a slot; the caller has found none and ends the lease."""
        waiter = self._join(claim)
        try:
            answer = await waiter.answer
        except BaseException:
            self._leave(waiter)
            raise
        if isinstance(answer, GatewayError):
            raise answer
        return answer

    # -- when something has changed ---------------------------------------------------

    def wake(self) -> None:
        """Give away what slots there are; for whoever knows that one may be free."""
        for line in tuple(self._crowd.lines.values()):
            self._serve(line)
        if self._asking:
            self._settle()

    def reconsider(self) -> None:
        """Choose anew for all who wait: providers have come, gone or changed.

        A waiter keeps its place; one with nobody left to wait for is told so.
        """
        for waiter in self._crowd:
            self._choose_again(waiter)
        self.wake()

    def tick(self, now: float) -> None:
        for waiter in self._crowd:
            if waiter.is_over(now) and waiter.number not in self._asking:
                self._answer(waiter, self._too_late(waiter.claim))
        self.wake()

    def is_live(self, candidate: Candidate) -> bool:
        """Tell whether its provider is still there, and in use."""
        provider = candidate.provider
        return provider.usable and self._slots.registry.get(provider.id) is provider

    # -- what can be seen ---------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._crowd)

    def presence(self, provider_id: str | None = None) -> Presence:
        """Answer who waits: for one provider (perhaps for others too), or at all."""
        if provider_id is None:
            oldest, length = self._crowd.oldest, len(self._crowd)
        else:
            line = self._crowd.lines.get(provider_id)
            oldest = None if line is None else line.oldest
            length = 0 if line is None else len(line)
        oldest_s = 0.0 if oldest is None else self._now() - oldest.joined_at
        return Presence(length, oldest_s)

    def expected_wait_s(self, claim: Claim) -> float:
        """Estimate when a slot comes free for one who joins now, as observed so far.

        No less than a second, no more than one may wait: by then all who are here
        now have been served or have given up.
        """
        longest_s = max(RETRY_AFTER_LEAST_S, self._max_wait_s(claim))
        slots_per_s = 0.0
        first_at = {c.provider.id: c for c in reversed(claim.candidates)}
        for candidate in first_at.values():
            capacity = self._slots.capacity(candidate) or 0
            slots_per_s += capacity / max(held_s(self._slots, candidate), 1e-3)
        if not slots_per_s:
            return longest_s
        places = self._crowd.in_line(first_at) + 1
        return min(max(places / slots_per_s, RETRY_AFTER_LEAST_S), longest_s)

    # -- joining and leaving --------------------------------------------------------------

    def _join(self, claim: Claim) -> Waiter:
        max_wait_s = self._max_wait_s(claim)
        is_asking = any(map(self._slots.is_asked, claim.candidates))
        if is_asking:  # there may be a slot: the queue's bounds are for later
            if len(self._asking) >= MOST_ASKING:
                raise self._full(claim)
        elif max_wait_s <= 0:
            raise self._too_late(claim)
        elif self._length >= self._config.max_length:
            giving_way = self._crowd.who_gives_way(claim.holder)
            if giving_way is None:
                raise self._full(claim)
            self._answer(giving_way, self._full(giving_way.claim))
        self._number += 1
        answer = asyncio.get_running_loop().create_future()
        waiter = Waiter(claim, self._number, self._now(), max_wait_s, answer)
        self._crowd.add(waiter)
        if is_asking:
            self._asking[waiter.number] = waiter
        self._ticker.add(self)
        return waiter

    @property
    def _length(self) -> int:
        """How many wait for a slot; those who wait for an answer do not count yet."""
        return len(self._crowd) - len(self._asking)

    def _settle(self) -> None:
        """Hold those to the queue's bounds for whom the answer was not a slot."""
        now = self._now()
        for waiter in tuple(self._asking.values()):
            is_asking = any(map(self._slots.is_asked, waiter.candidates))
            if is_asking and now < waiter.joined_at + ANSWERED_S:
                continue
            self._asking.pop(waiter.number, None)
            if waiter.is_over(now):
                self._answer(waiter, self._too_late(waiter.claim))
            elif self._length > self._config.max_length:
                holder = waiter.claim.holder
                giving_way = self._crowd.who_gives_way(holder, coming=0)
                if giving_way is None or giving_way.number in self._asking:
                    giving_way = waiter
                self._answer(giving_way, self._full(giving_way.claim))

    def _leave(self, waiter: Waiter) -> None:
        """Forget a waiter whose caller has gone; a slot handed to it goes back."""
        self._remove(waiter)
        answer = waiter.answer
        if not answer.done():
            answer.cancel()
        elif not answer.cancelled() and isinstance(lease := answer.result(), Lease):
            lease.release()

    def _answer(self, waiter: Waiter, answer: Lease | GatewayError) -> None:
        self._remove(waiter)
        if not waiter.answer.done():
            waiter.answer.set_result(answer)

    def _remove(self, waiter: Waiter) -> None:
        self._crowd.remove(waiter)
        self._asking.pop(waiter.number, None)
        if not self._crowd:
            self._ticker.discard(self)

    # -- handing over -----------------------------------------------------------------------

    def _freed(self, lease: Lease) -> None:
        self._serve_first(lease.candidate)

    def _serve_first(self, candidate: Candidate) -> None:
        """Serve those who wait already: a newcomer is not before them."""
        line = self._crowd.lines.get(candidate.provider.id)
        if line is not None:
            self._serve(line)

    def _serve(self, line: Line, *, looks_around: bool = True) -> None:
        """Give away the slots of one provider; first, of those that who is next would
        rather have, where it `looks_around`.
        """
        now, id_ = self._now(), line.provider_id
        while line and not self._slots.is_full(id_):
            pick = line.pick(now, self._loaded_at(id_), self._fits)
            if pick is None:
                return
            waiter = pick.waiter
            if waiter.answer.done():  # its caller has gone in this very moment
                self._remove(waiter)
                continue
            if self._awaits_better(waiter, pick.candidate):
                return
            if looks_around and self._got_better(waiter, pick.candidate):
                continue
            lease = self._slots.try_lease(pick.candidate)
            if lease is None:
                self._slots.ask(pick.candidate)
                return
            lease.waited_s = now - waiter.joined_at
            line.serve(pick)
            self._answer(waiter, lease)

    def _awaits_better(self, waiter: Waiter, candidate: Candidate) -> bool:
        """Tell whether others are asked about one that it would rather have."""
        for better in waiter.candidates:
            if better is candidate:
                return False
            if self._slots.is_asked(better):
                return True
        return False

    def _got_better(self, waiter: Waiter, candidate: Candidate) -> bool:
        """Serve the lines of those with room that it would rather have; tell whether
        it was given one. Several come free at once where others have been asked.
        """
        for better in waiter.candidates:
            if better is candidate:
                break
            line = self._crowd.lines.get(better.provider.id)
            if line is not None and self._fits(better):
                self._serve(line, looks_around=False)
                if waiter.answer.done():
                    return True
        return False

    def _fits(self, candidate: Candidate) -> bool:
        return (
            self.is_live(candidate)
            and self._slots.has_room(candidate)
            and not self._slots.is_asked(candidate)
            and self._may_serve(candidate)
        )

    def _loaded_at(self, provider_id: str) -> str | None:
        """Answer the model that needs no swap. Only local machines swap.

        None where nobody knows: what passed through last named none to us.
        """
        provider = self._slots.registry.get(provider_id)
        if provider is None or not provider.local:
            return None
        return self._slots.latest_model(provider_id) or None

    def _choose_again(self, waiter: Waiter) -> None:
        try:
            candidates = self._candidates_now(waiter.claim)
        except GatewayError as error:
            self._answer(waiter, error)
            return
        if candidates != waiter.candidates:
            self._crowd.move(waiter, candidates)

    def _candidates_now(self, claim: Claim) -> tuple[Candidate, ...]:
        if claim.choose is not None:
            found = claim.choose()
        else:
            found = tuple(c for c in claim.candidates if self.is_live(c))
        if not found:
            raise ProviderFault(
                "all_providers_unavailable",
                "While the request waited, every provider of its model went away.",
                retry_after_s=RETRY_AFTER_LEAST_S,
            )
        return found

    # -- refusing -----------------------------------------------------------------------------

    def _max_wait_s(self, claim: Claim) -> float:
        own = claim.max_wait_s
        return self._config.max_wait_seconds if own is None else own

    def _full(self, claim: Claim) -> GatewayFault:
        return GatewayFault(
            "queue_full",
            "Every provider of this model is busy, and no more requests may wait.",
            retry_after_s=self.expected_wait_s(claim),
        )

    def _too_late(self, claim: Claim) -> GatewayFault:
        return GatewayFault(
            "provider_capacity_exceeded",
            "Every provider of this model was busy for "
            f"{self._max_wait_s(claim):g} seconds.",
            retry_after_s=self.expected_wait_s(claim),
        )
