"""What routing keeps between requests, in one place: it outlives every reload.

Slots and who waits for them, breakers and cooldowns, keys that rest, where
conversations were served, machines being woken. All of it is keyed by provider id;
`load` takes what a configuration says of it. Knows no request.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from proxy.config import Config
from proxy.core.clock import Ticker
from proxy.core.tasks import Tasks
from proxy.routing.affinity import Affinity
from proxy.routing.breaker import Breaker, Circuit
from proxy.routing.catalog import Catalog
from proxy.routing.choose import Chooser
from proxy.routing.health import Health
from proxy.routing.keys import KeyRing
from proxy.routing.model import Candidate
from proxy.routing.pauses import Pauses
from proxy.routing.queue import Queue
from proxy.routing.registry import Registry
from proxy.routing.retries import RetryBudget
from proxy.routing.slots import Lease, Slots
from proxy.routing.traffic import Traffic
from proxy.routing.wake import Waker
from proxy.state.base import State, Where


class Hindrance(Struct, frozen=True):
    """Why a model at a provider, or all of the provider, is left alone just now.

    With a closed circuit it rests after a rate limit. `remaining_s` is 0.0 where a
    request is to show whether it is well again.
    """

    where: Where
    circuit: Circuit
    remaining_s: float


class Dispatch:
    """Built once; `chooser` is another after a reload."""

    def __init__(
        self,
        registry: Registry,
        state: State,
        health: Health,
        ticker: Ticker,
        tasks: Tasks,
        config: Config,
    ) -> None:
        self._state = state
        self._resting = state.cooldowns.resting
        self.slots: Final = Slots(registry, state.slots)
        self.queue: Final = Queue(
            self.slots,
            config.routing.queue,
            ticker,
            may_serve=self._may_serve,
        )
        self.breaker: Final = Breaker(state.cooldowns)
        self.keys: Final = KeyRing(state.cooldowns)
        self.affinity: Final = Affinity(state.affinity)
        self.traffic: Final = Traffic(self.breaker, self.keys, health, registry.lacks)
        self.retries: Final = RetryBudget(config.routing.retry.budget_ratio)
        self.waker: Final = Waker(health.check, tasks)
        self.pauses: Final = Pauses(config.routing.queue.max_length)
        self.load(config)

    def load(self, config: Config) -> None:
        """Do as a configuration says, from the next request on."""
        routing = config.routing
        self.slots.load(config.models)
        self.queue.load(routing.queue)
        self.pauses.limit = routing.queue.max_length
        self.retries.ratio = routing.retry.budget_ratio
        self.chooser = Chooser(
            self.breaker,
            self._state.cooldowns,
            self.affinity if routing.affinity else None,
        )

    def lease_if_all_is_well(self, candidate: Candidate) -> Lease | None:
        """Take a slot of a candidate for a request that nothing else need be asked for.

        None where something has failed lately, rests or waits, or there is no slot.
        """
        if self.breaker.tracks or self.queue.lines or self._resting:
            return None
        return self.slots.try_lease(candidate)

    def hindrances(self, catalog: Catalog) -> tuple[Hindrance, ...]:
        """List what is left alone of all that a catalogue has. For people and metrics:
        it looks at every candidate there is.
        """
        candidates = [c for model in catalog.models for c in model.candidates]
        places = dict.fromkeys([c.whole for c in candidates])
        places |= dict.fromkeys([c.where for c in candidates])
        places |= dict.fromkeys(self.breaker.places)
        found = (self._hindrance(where) for where in places)
        return tuple(one for one in found if one is not None)

    def _hindrance(self, where: Where) -> Hindrance | None:
        circuit = self.breaker.state(where)
        remaining_s = self._state.cooldowns.remaining_s(where)
        if circuit is Circuit.CLOSED and not remaining_s:
            return None
        return Hindrance(where, circuit, remaining_s)

    def _may_serve(self, candidate: Candidate) -> bool:
        return self.chooser.is_open(candidate)
