"""Which of a provider's keys is used: the next one when one is rate limited.

A key rests for one model at one provider, as limits are per model. Only when all of
them rest does the model rest there. Knows the keys' places, never the keys.
"""

from __future__ import annotations

from typing import Final

from proxy.routing.model import Candidate
from proxy.state.base import Cooldowns, Where

REFUSED_S: Final = 300.0
"""How long a key that was refused is passed over, where there are others."""


class KeyRing:
    """Answers places in `provider.config.keys`."""

    def __init__(self, cooldowns: Cooldowns) -> None:
        self._cooldowns = cooldowns

    def first(self, candidate: Candidate) -> int:
        """Answer the first key that does not rest; the very first if all do."""
        count = len(candidate.provider.config.keys)
        if count < 2:
            return 0
        return next((n for n in range(count) if not self._rests_s(candidate, n)), 0)

    def limited(self, candidate: Candidate, key: int, seconds: float) -> None:
        """Let a key rest; with the last of them the model there rests."""
        count = len(candidate.provider.config.keys)
        if count > 1:
            self._cooldowns.start(_where(candidate, key), seconds)
            seconds = min(self._rests_s(candidate, n) for n in range(count))
        if seconds > 0.0:
            self._cooldowns.start(candidate.where, seconds)

    def refused(self, candidate: Candidate, key: int) -> None:
        """Pass over a key that the provider does not take, if there is another."""
        if len(candidate.provider.config.keys) > 1:
            self._cooldowns.start(_where(candidate, key), REFUSED_S)

    def _rests_s(self, candidate: Candidate, key: int) -> float:
        return self._cooldowns.remaining_s(_where(candidate, key))


def _where(candidate: Candidate, key: int) -> Where:
    return Where(candidate.provider.id, f"{candidate.upstream_model} key {key}")
