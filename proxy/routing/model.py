"""A model that callers may name, and the providers that are candidates for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from providers.base import FoundModel
from proxy.config import ModelConfig
from proxy.routing.registry import Provider, Status

_ILL: Final = {Status.DEGRADED: 1, Status.LOADING: 2}

State = Literal["warm", "cold", "loading", "unavailable"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider, and what it calls the model; `model` is None for one only found."""

    provider: Provider
    upstream_model: str
    model: ModelConfig | None = None


@dataclass(frozen=True, slots=True)
class Model:
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


@dataclass(frozen=True, slots=True)
class Wildcard:
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
