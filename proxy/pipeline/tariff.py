"""What a request may cost, before anybody is asked: the dearest of who may serve it.

Fallbacks count too, as they may be asked in the end. A candidate is free, has a price,
or has one that nobody knows; a `Tariff` says which of them a budget lets a request use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum, auto

from msgspec import Struct

from providers.base import ASKABLE
from providers.wire.usage import Usage
from proxy.accounting.prices import cost_usd
from proxy.routing.catalog import Catalog, Resolution
from proxy.routing.model import Candidate


class Tariff(Enum):
    """Whom a request may be sent to, as far as money goes."""

    ANY = auto()
    PRICED = auto()
    FREE = auto()

    def allows(self, candidate: Candidate) -> bool:
        """Tell whether a candidate may be asked."""
        if self is Tariff.ANY:
            return True
        cost = _cost(candidate, Usage(prompt=1, completion=1))
        return cost == 0.0 if self is Tariff.FREE else cost is not None


class Costs(Struct, frozen=True):
    """What candidates would take for one request: `dearest_usd` of those with a price,
    `prompt_usd` for its prompt alone.

    `has_free` and `has_unpriced`: there are candidates that cost nothing, or whose
    price nobody knows.
    """

    dearest_usd: float
    prompt_usd: float
    has_free: bool
    has_unpriced: bool


def costs_of(
    resolution: Resolution, catalog: Catalog, prompt_tokens: int, answer_tokens: int
) -> Costs:
    """Answer what a request of so many tokens would cost, whoever serves it."""
    candidates = list(_all(resolution, catalog))
    priced = [one for one in candidates if Tariff.PRICED.allows(one)]
    whole = Usage(prompt=prompt_tokens, completion=answer_tokens)
    return Costs(
        _dearest(priced, whole),
        _dearest(priced, Usage(prompt=prompt_tokens, completion=0)),
        any(Tariff.FREE.allows(one) for one in priced),
        len(priced) < len(candidates),
    )


def _dearest(priced: Iterable[Candidate], usage: Usage) -> float:
    return max((_cost(candidate, usage) or 0.0 for candidate in priced), default=0.0)


def _all(resolution: Resolution, catalog: Catalog) -> Iterator[Candidate]:
    """Yield all candidates of a model, those of its fallbacks, and of theirs."""
    operation, named = ASKABLE[resolution.operation], {resolution.name}
    waiting = [resolution]
    while waiting:
        found = waiting.pop()
        yield from found.everyone or found.candidates
        config = found.config
        names = () if config is None else (*config.fallbacks, *config.context_fallbacks)
        for name in names:
            if name not in named:
                named.add(name)
                waiting.append(catalog.resolve(name, operation))


def _cost(candidate: Candidate, usage: Usage) -> float | None:
    provider = candidate.provider
    listed = provider.prices.get(candidate.upstream_model)
    return cost_usd(provider.config, candidate.model, usage, listed)
