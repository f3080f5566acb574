"""A model that callers may name, and the providers that are candidates for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Literal

from msgspec import Struct

from providers.base import ASKABLE, STAND_INS, FoundModel, Operation
from proxy.config import ModelConfig
from proxy.routing.needs import Limits, limits_of
from proxy.routing.registry import Provider, Status
from proxy.state.base import Where

_ILL: Final = {Status.DEGRADED: 1, Status.LOADING: 2}

State = Literal["warm", "cold", "loading", "unavailable"]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A provider, and what it calls the model; `model` is None for one only found.

    `found` is what the provider lists of it. `where` is this model there, `whole` all
    of the provider: the keys of what is known of both. Made once for each snapshot
    of the catalogue, so that choosing need not work anything out.
    """

    provider: Provider
    upstream_model: str
    model: ModelConfig | None = None
    found: FoundModel | None = None
    limits: Limits = field(init=False, compare=False)
    where: Where = field(init=False, compare=False)
    whole: Where = field(init=False, compare=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "limits", limits_of(self.model, self.found))
        put(self, "where", Where(self.provider.id, self.upstream_model))
        put(self, "whole", Where(self.provider.id))

    @property
    def warm(self) -> bool | None:
        """True when it is loaded, False when not, None when nobody says."""
        return None if self.found is None else self.found.warm

    def lacks(self, operation: str) -> bool:
        """Tell whether its provider has turned out to have no address for it."""
        absent = self.provider.absent
        return bool(absent) and (self.upstream_model, operation) in absent

    def instead_of(self, way: Operation, operation: Operation) -> Operation:
        """Answer `way`, or by what else an operation is served where that is lacking:
        by none but itself, if its kind knows nothing else.
        """
        if not self.lacks(way.name):
            return way
        able = self.provider.adapter.capabilities.operations
        for name in STAND_INS.get(operation.name, ()):
            if name in able and not self.lacks(name):
                return ASKABLE[name]
        return way


class Model(Struct, frozen=True):
    """A model that callers may name.

    `found` is what the first provider that lists it says. `candidates` are all
    providers it has, `live` those in use now, best first.
    """

    id: str
    config: ModelConfig | None
    found: FoundModel | None
    candidates: tuple[Candidate, ...]
    live: tuple[Candidate, ...]

    @property
    def kind(self) -> str | None:
        """What it is for: "chat", "embeddings", or None when nobody says."""
        if self.found is not None and self.found.kind is not None:
            return self.found.kind
        configured = self.config is not None and self.config.capabilities.embeddings
        return "embeddings" if configured else None

    @property
    def warm(self) -> bool:
        """True when it can answer at once. A cloud has nothing to load."""
        if self.found is not None and self.found.warm is not None:
            return self.found.warm
        return bool(self.live) and not self.live[0].provider.local

    @property
    def state(self) -> State:
        if not self.live:
            return "unavailable"
        first = self.live[0].provider
        if first.status is Status.LOADING:
            return "loading"
        if self.found is None and first.local and first.models:
            # Configured, but its server says that it has others only.
            return "unavailable"
        return "warm" if self.warm else "cold"


class Wildcard(Struct, frozen=True):
    """A configured id that ends in a star: the rest is the upstream's model."""

    prefix: str
    config: ModelConfig
    providers: tuple[tuple[Provider, str | None], ...]

    def candidates_for(self, rest: str) -> tuple[Candidate, ...]:
        return tuple(
            Candidate(provider, upstream or rest, self.config)
            for provider, upstream in self.providers
        )


def live(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Those whose provider is in use, the well ones first, else in the same order."""
    usable = [c for c in candidates if c.provider.usable]
    if len(usable) > 1:
        usable.sort(key=lambda c: _ILL.get(c.provider.status, 0))
    return tuple(usable)


def peers(candidates: tuple[Candidate, ...]) -> tuple[tuple[Candidate, ...], ...]:
    """Cut ordered candidates into groups among which nothing known prefers one."""
    return tuple(tuple(group) for _, group in groupby(candidates, key=_standing))


def _standing(candidate: Candidate) -> tuple[int, int, bool, bool]:
    provider = candidate.provider
    return (
        _ILL.get(provider.status, 0),
        provider.config.priority,
        bool(candidate.warm),
        provider.local,
    )
