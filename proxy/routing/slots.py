"""Slots: how many requests a provider, and a model there, serves at once.

Keyed by the provider's id and the upstream's model, so that a reload finds again
what is held: a limit that was lowered holds for new leases while the old ones run
out. Whether somebody waits for a slot is the queue's affair, which is told of each
one that is given back where somebody does. Nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

import msgspec

from proxy.config import ModelConfig
from proxy.core import clock
from proxy.routing.model import Candidate
from proxy.routing.registry import Provider, Registry
from proxy.state.base import Bound, Place, SlotCounts

_MOST_KNOWN: Final = 4096
_SHARE_OF_THE_LATEST: Final = 0.2
Freed = Callable[["Lease"], None]
"""Hears of a lease that has ended."""


class Stand:
    """What is known here of one provider's id, whichever object lives under it.

    `mean_s` is for how long its leases are held, the latest counting most, and
    `latest_model` the upstream's of the last; None until there was one.
    """

    __slots__ = ("latest_model", "mean_s", "provider")

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.mean_s: float | None = None
        self.latest_model: str | None = None


class Spot(msgspec.Struct, frozen=True, eq=False):
    """Where a candidate's slots are counted: looked up once, kept for who comes again."""

    bounds: tuple[Bound, Bound]
    place: Place
    stand: Stand


class Lease(msgspec.Struct, eq=False):
    """A held slot, from `async with` to its end: given back once, however it ends.

    `slots` is None once it has ended. `waited_s` is the time in the queue, None when
    there was no need to wait. (A Struct is built in C.)
    """

    candidate: Candidate
    spot: Spot
    taken_at: float
    slots: Slots | None
    waited_s: float | None = None

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the slot back. It does not wait, so that no cancellation is in its way;
        a second time does nothing.
        """
        slots, spot = self.slots, self.spot
        if slots is None:
            return
        self.slots = None
        spot.place.give_back()
        stand = spot.stand
        stand.provider.active -= 1
        held_s, mean_s = slots.now() - self.taken_at, stand.mean_s
        if mean_s is None:
            stand.mean_s = held_s
        else:
            stand.mean_s = mean_s + (held_s - mean_s) * _SHARE_OF_THE_LATEST
        if slots.wanted:
            slots.freed(self)


class Slots:
    """All slots. `Provider.active` is what is held of each provider.

    `freed` is told of leases that have ended while anything is `wanted`.
    """

    def __init__(
        self,
        registry: Registry,
        counts: SlotCounts,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self.registry: Final = registry
        self.now: Final = now
        self.wanted: Collection[str] = ()
        self.freed: Freed = _nobody
        self._counts = counts
        self._models: dict[tuple[str, str], int] = {}
        self._stands: dict[str, Stand] = {}
        self._known: dict[Candidate, Spot] = {}
        registry.on_change(self._show)

    def load(self, models: Iterable[ModelConfig]) -> None:
        """Take the limits of configured models; of two for one model the lower holds.

        They hold for the upstream's model, whatever name a caller uses for it.
        """
        limits: dict[tuple[str, str], int] = {}
        for model in models:
            for id_, upstream in model.served_by:
                if model.max_concurrent is not None and upstream is not None:
                    known = limits.get((id_, upstream), model.max_concurrent)
                    limits[id_, upstream] = min(known, model.max_concurrent)
        self._models = limits
        self._known.clear()

    def on_free(self, callback: Freed, wanted: Collection[str]) -> None:
        """Tell `callback` of each lease that has ended, save while nothing is `wanted`:
        a collection that its owner changes.
        """
        self.freed, self.wanted = callback, wanted

    def on_news(self, callback: Callable[[], None]) -> None:
        """Tell `callback` when other processes may have made room."""
        self._counts.watch(callback)

    def try_lease(self, candidate: Candidate) -> Lease | None:
        """Take a slot if there is one; asks nobody whether others wait for it.

        None may also mean that only other processes know: `ask` asks them.
        """
        spot = self._known.get(candidate) or self._spot(candidate)
        if not spot.place.try_take():
            return None
        stand = spot.stand
        stand.provider.active += 1
        stand.latest_model = candidate.upstream_model
        return Lease(candidate, spot, self.now(), self)

    def ask(self, candidate: Candidate) -> bool:
        """Ask other processes for a slot that was not to be had here, if they know of
        any; true while they are asked. Who hears of news hears the answer.
        """
        self._spot(candidate).place.ask()
        return self.is_asked(candidate)

    def has_room(self, candidate: Candidate) -> bool:
        return self._counts.has_room(self._spot(candidate).bounds)

    def is_asked(self, candidate: Candidate) -> bool:
        """True while other processes are asked."""
        return self._counts.is_asked(self._spot(candidate).bounds)

    def is_full(self, provider_id: str) -> bool:
        """True when this process alone holds all of a provider's slots."""
        provider = self.registry.get(provider_id)
        limit = None if provider is None else provider.slots
        return limit is not None and self._counts.held(provider_id) >= limit

    def capacity(self, candidate: Candidate) -> int | None:
        """How many slots there are for a candidate, taken or not; None for no limit."""
        bounds = self._spot(candidate).bounds
        return min((limit for _, limit in bounds if limit is not None), default=None)

    def latest_model(self, provider_id: str) -> str | None:
        """The upstream's model that a provider was asked for last: likely loaded."""
        stand = self._stands.get(provider_id)
        return None if stand is None else stand.latest_model

    def mean_s(self, provider_id: str) -> float | None:
        """For how long a provider's slots are held, as observed; None: not yet."""
        stand = self._stands.get(provider_id)
        return None if stand is None else stand.mean_s

    def _spot(self, candidate: Candidate) -> Spot:
        """The provider's count first, then the model's. A model without a limit is
        counted too: a reload may bring one, and what is held then counts.
        """
        known = self._known.get(candidate)
        if known is not None:
            return known
        provider, model = candidate.provider, candidate.upstream_model
        id_ = provider.config.id
        limit = self._models.get((id_, model)) if self._models else None
        if limit is None and candidate.model is not None:
            limit = candidate.model.max_concurrent  # of a wildcard
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        bounds = ((id_, provider.slots), (f"{id_}\n{model}", limit))
        spot = Spot(bounds, self._counts.place(bounds), self._stand(provider))
        self._known[candidate] = spot
        return spot

    def _stand(self, provider: Provider) -> Stand:
        known = self._stands.get(provider.id)
        if known is None:
            # It may have been replaced, or be gone, since the candidate was chosen.
            living = self.registry.get(provider.id) or provider
            known = self._stands[provider.id] = Stand(living)
        return known

    def _show(self) -> None:
        """Providers may be other objects now; what is held of their ids is not."""
        self._known.clear()
        held = self._counts.held
        for provider in self.registry.providers:
            provider.active = held(provider.id)
        for id_, stand in tuple(self._stands.items()):
            provider_now = self.registry.get(id_)
            if provider_now is not None:
                stand.provider = provider_now
            elif held(id_):  # its leases come back here, be there a provider or not
                stand.mean_s = stand.latest_model = None
            else:
                del self._stands[id_]


def _nobody(_: Lease) -> None:
    """Until somebody waits."""
