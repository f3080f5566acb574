"""Slots: how many requests a provider, and a model there, serves at once.

Keyed by the provider's id and the upstream's model, so that a reload finds again
what is held: a limit that was lowered holds for new leases while the old ones run
out. Whether somebody waits for a slot is the queue's affair, which is told of each
one that is given back. Nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from proxy.config import ModelConfig
from proxy.core import clock
from proxy.routing.model import Candidate
from proxy.routing.registry import Registry
from proxy.state.base import Bound, SlotCounts

_MOST_KNOWN: Final = 4096
Freed = Callable[["Lease", float], None]
"""Hears of a lease that has ended, and how long it was held in seconds."""


class Lease(msgspec.Struct, eq=False):
    """A held slot, from `async with` to its end: given back once, however it ends.

    `waited_s` is the time in the queue, None when there was no need to wait. (A Struct
    is built in C.)
    """

    candidate: Candidate
    bounds: tuple[Bound, ...]
    taken_at: float
    give_back: Callable[[Lease], None] | None
    waited_s: float | None = None

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the slot back. It does not wait, so that no cancellation is in its way;
        a second time does nothing.
        """
        give_back = self.give_back
        if give_back is not None:
            self.give_back = None
            give_back(self)


class Slots:
    """All slots. `Provider.active` is what is held of each provider."""

    def __init__(
        self,
        registry: Registry,
        counts: SlotCounts,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self.registry: Final = registry
        self._counts = counts
        self._now = now
        self._models: dict[tuple[str, str], int] = {}
        self._latest: dict[str, str] = {}
        self._known: dict[Candidate, tuple[Bound, Bound]] = {}
        self._freed: Freed = _nobody
        self._give_back = self._take_back
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

    def on_free(self, callback: Freed) -> None:
        """Tell `callback` of each lease that has ended."""
        self._freed = callback

    def on_news(self, callback: Callable[[], None]) -> None:
        """Tell `callback` when other processes may have made room."""
        self._counts.watch(callback)

    def try_lease(self, candidate: Candidate, *, ask: bool = True) -> Lease | None:
        """Take a slot if there is one; asks nobody whether others wait for it.

        None may also mean that other processes know: they are asked, if `ask` says so.
        """
        now, bounds = self._now, self._known.get(candidate) or self._bounds(candidate)
        if not self._counts.try_take(bounds, ask=ask):
            return None
        provider = candidate.provider
        provider.active += 1
        self._latest[bounds[0][0]] = candidate.upstream_model
        return Lease(candidate, bounds, now(), self._give_back)

    def has_room(self, candidate: Candidate) -> bool:
        return self._counts.has_room(self._bounds(candidate))

    def is_asked(self, candidate: Candidate) -> bool:
        """True while other processes are asked; who hears of news hears the answer."""
        return self._counts.is_asked(self._bounds(candidate))

    def is_full(self, provider_id: str) -> bool:
        """True when this process alone holds all of a provider's slots."""
        provider = self.registry.get(provider_id)
        limit = None if provider is None else provider.slots
        return limit is not None and self._counts.held(provider_id) >= limit

    def capacity(self, candidate: Candidate) -> int | None:
        """How many slots there are for a candidate, taken or not; None for no limit."""
        limits = [limit for _, limit in self._bounds(candidate) if limit is not None]
        return min(limits, default=None)

    def latest_model(self, provider_id: str) -> str | None:
        """The upstream's model that a provider was asked for last: likely loaded."""
        return self._latest.get(provider_id)

    def _bounds(self, candidate: Candidate) -> tuple[Bound, Bound]:
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
        self._known[candidate] = bounds
        return bounds

    def _take_back(self, lease: Lease) -> None:
        now, freed, bounds = self._now, self._freed, lease.bounds
        self._counts.give_back(bounds)
        # A reload may have put another object in its place, which counts on.
        provider = self.registry.get(bounds[0][0]) or lease.candidate.provider
        provider.active -= 1
        freed(lease, now() - lease.taken_at)

    def _show(self) -> None:
        """Providers may be other objects now; what is held of their ids is not."""
        self._known.clear()
        for provider in self.registry.providers:
            provider.active = self._counts.held(provider.id)
        self._latest = {
            id_: model
            for id_, model in self._latest.items()
            if self.registry.get(id_) is not None
        }


def _nobody(_: Lease, __: float) -> None:
    """Until somebody waits."""
