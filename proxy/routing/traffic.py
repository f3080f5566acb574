"""What real requests show of providers: one place is told how each attempt ended.

It opens breakers, lets rate-limited models rest and keeps health up to date. What
the caller did wrong, and a model that a provider lacks, never count against anybody.
A request that is served costs two comparisons here while all is well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from proxy.routing.breaker import Breaker
from proxy.routing.failover import RATE_PAUSE_S
from proxy.routing.health import KEY_REFUSED, Health
from proxy.routing.keys import KeyRing
from proxy.routing.model import Candidate
from proxy.routing.outcome import (
    AGAINST_MODEL,
    AGAINST_PROVIDER,
    ANSWERED,
    Ending,
    Outcome,
)
from proxy.routing.registry import Provider
from proxy.routing.status import Sign
from proxy.state.base import Where

_SILENT: Final = frozenset({Ending.BROKEN, Ending.CUT, Ending.TIMED_OUT})
"""After these a look at the provider tells whether it is the model or the machine."""


class Traffic:
    """Told by the pipeline: `try_begin`, then `answered` or `ended`, once each; of
    calls that name their provider `passed_on` alone.
    """

    def __init__(
        self,
        breaker: Breaker,
        keys: KeyRing,
        health: Health,
        lacks: Callable[[Provider, str, str], None],
    ) -> None:
        """`lacks` is told of a provider without the route of an operation, for a model."""
        self._breaker = breaker
        self._keys = keys
        self._health = health
        self._lacks = lacks
        health.on_recovery(self._recovered)

    def try_begin(self, candidate: Candidate) -> bool:
        """Take part in a half-open circuit's probe; False if another request does."""
        breaker = self._breaker
        if not breaker.tracks:
            return True
        if not breaker.try_enter(candidate.whole):
            return False
        if breaker.try_enter(candidate.where):
            return True
        breaker.let_go(candidate.whole)
        return False

    def answered(self, candidate: Candidate) -> None:
        """Note a good reply: whole, or its first body byte."""
        if self._breaker.tracks:
            self._breaker.passed(candidate.whole)
            self._breaker.passed(candidate.where)
        if candidate.provider.failures:
            self._health.answered(candidate.provider)

    def ended(self, candidate: Candidate, outcome: Outcome, key: int = 0) -> None:
        """Note how an attempt ended; `key` is the place of the key it used."""
        if outcome is ANSWERED:
            self.answered(candidate)
            return
        ending = outcome.ending
        if ending is Ending.ANSWERED:
            self.answered(candidate)
            return
        self._count(candidate, outcome)
        if ending is Ending.RATE_LIMITED:
            pause_s = outcome.retry_after_s or RATE_PAUSE_S
            self._keys.limited(candidate, key, pause_s)
        elif ending is Ending.KEY_REFUSED:
            self._keys.refused(candidate, key)
        elif outcome.absent is not None:
            provider, model = candidate.provider, candidate.upstream_model
            self._lacks(provider, model, outcome.absent)
        self._tell_health(candidate.provider, outcome)

    def passed_on(self, provider: Provider, outcome: Outcome) -> None:
        """Note how a call ended that named its provider, and whose model nobody read.

        It tells of the provider alone: no model's circuit opens, and none rests.
        """
        ending = outcome.ending
        if ending is Ending.LEFT:
            return
        if ending in AGAINST_PROVIDER:
            self._breaker.failed(Where(provider.id))
        elif not self._breaker.quiet:
            self._breaker.passed(Where(provider.id))
        if ending is not Ending.ANSWERED:
            self._tell_health(provider, outcome)
        elif provider.failures:
            self._health.answered(provider)

    def _count(self, candidate: Candidate, outcome: Outcome) -> None:
        breaker, ending = self._breaker, outcome.ending
        if ending in AGAINST_PROVIDER:
            breaker.failed(candidate.whole)
            breaker.let_go(candidate.where)
            return
        if ending in AGAINST_MODEL:
            breaker.failed(candidate.where, outcome.retry_after_s or 0.0)
        else:
            breaker.let_go(candidate.where)
        if ending is Ending.LEFT:
            breaker.let_go(candidate.whole)
        else:
            breaker.passed(candidate.whole)  # there was an answer: it is there

    def _tell_health(self, provider: Provider, outcome: Outcome) -> None:
        ending = outcome.ending
        message = outcome.error.message if outcome.error is not None else ending.value
        if ending is Ending.UNREACHABLE:
            self._health.failed(provider, Sign.GONE, message)
        elif ending is Ending.LOADING and provider.local:
            self._health.failed(provider, Sign.LOADING, message)
        elif ending is Ending.KEY_REFUSED:
            is_ours = outcome.status == 401 and not provider.config.forward_auth
            if is_ours and len(provider.config.keys) < 2:
                self._health.failed(provider, Sign.AILING, KEY_REFUSED)
        elif ending in _SILENT:
            self._health.suspect(provider)

    def _recovered(self, provider: Provider) -> None:
        """Who listens again need not wait until its circuit has cooled."""
        self._breaker.close(Where(provider.id))
        provider.absent.clear()  # it may be of another version now
