"""How fast slots come free: what has been observed, and what it says about waiting."""

from __future__ import annotations

from typing import Final

from proxy.routing.model import Candidate

_SHARE_OF_THE_LATEST: Final = 0.2
_UNKNOWN_S: Final = 10.0


class Pace:
    """The mean time for which leases are held, by provider; the latest counts most.

    Bounded by the providers there are: `keep` forgets the others.
    """

    def __init__(self) -> None:
        self._mean_s: dict[str, float] = {}

    def observe(self, provider_id: str, held_s: float) -> None:
        mean_s = self._mean_s.get(provider_id)
        self._mean_s[provider_id] = (
            held_s
            if mean_s is None
            else mean_s + (held_s - mean_s) * _SHARE_OF_THE_LATEST
        )

    def keep(self, provider_ids: frozenset[str]) -> None:
        self._mean_s = {
            id_: mean_s for id_, mean_s in self._mean_s.items() if id_ in provider_ids
        }

    def mean_s(self, candidate: Candidate) -> float:
        """Answer what is observed, else what the operator expects, else a guess."""
        observed = self._mean_s.get(candidate.provider.id)
        if observed is not None:
            return observed
        model = candidate.model
        expected = model.constraints.typical_response_seconds if model else None
        return _UNKNOWN_S if expected is None else expected
