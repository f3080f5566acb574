"""After a failed attempt: who is asked next, or what the caller is told.

Made for a request when its first attempt has failed, and asked after each one, up to
the first body byte that has gone to the caller. Pure: it sends nothing and waits for
nothing. What an attempt shows of a provider is `traffic`'s affair.

    the same by another route, where it has not the one that was asked for
    → next candidate → one that has come up since → the same once more, if it is the only one and nothing is spared
    → fallbacks     → whoever was loading, until its firstByte is over
                    → whoever was rate limited, within the caller's patience
                    → a machine that can be woken → stop, with the most hopeful error
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from providers.base import ASKABLE
from proxy.core import clock
from proxy.core.errors import GatewayError
from proxy.routing.guess import Address, address_of
from proxy.routing.model import Candidate
from proxy.routing.outcome import OF_HOST, Ending, Outcome
from proxy.routing.registry import Status
from proxy.routing.retries import RetryBudget

LONGEST_PAUSE_S: Final = 5.0
"""Who asks for a longer pause than this is not worth a retry of its own."""

RATE_PAUSE_S: Final = 5.0
"""How long a rate limit lasts when the provider does not say."""

_LOADING_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0)
_LONGEST_LOADING_PAUSE_S: Final = 10.0

_FINAL: Final = frozenset({Ending.ANSWERED, Ending.CUT, Ending.CALLER, Ending.LEFT})
_WORTH_A_RETRY: Final = frozenset({Ending.BROKEN, Ending.OVERLOADED})
# The first of these that was seen is what the caller is told: the most hopeful one.
_TELLING: Final = (
    Ending.LOADING, Ending.RATE_LIMITED, Ending.OVERLOADED, Ending.BROKEN,
    Ending.FAILED, Ending.TIMED_OUT, Ending.KEY_REFUSED, Ending.TOO_LONG,
    Ending.UNREACHABLE, Ending.NOT_THERE,
)  # fmt: skip


def _nobody() -> tuple[Candidate, ...]:
    return ()


class Route(Struct, frozen=True):
    """The ordered candidates of one request, and who comes after them.

    The fallbacks are asked for once, when they are needed. `is_open` tells whether a
    candidate may be asked now, `now` who could be chosen by now: somebody may have
    come up since.
    """

    candidates: tuple[Candidate, ...]
    fallbacks: Callable[[], tuple[Candidate, ...]] = _nobody
    context_fallbacks: Callable[[], tuple[Candidate, ...]] = _nobody
    is_open: Callable[[Candidate], bool] = lambda _: True
    now: Callable[[], tuple[Candidate, ...]] = _nobody


class Next(Struct, frozen=True):
    """Ask this candidate, after a pause; with the key of this place in its `keys`.

    Where it has no slot now, the first of `others` that has one.
    """

    candidate: Candidate
    delay_s: float = 0.0
    key: int = 0
    why: str = "next candidate"
    others: tuple[Candidate, ...] = ()


class Rouse(Struct, frozen=True):
    """Wake this candidate's machine and ask it; tell `error` if it does not come up."""

    candidate: Candidate
    error: GatewayError
    others: tuple[Candidate, ...] = ()


class Stop(Struct, frozen=True):
    """Tell the caller; nothing is left to try."""

    error: GatewayError


Step = Next | Rouse | Stop


class Failover:
    """What has been tried for one request. `after` decides, once for each attempt."""

    def __init__(
        self,
        route: Route,
        budget: RetryBudget,
        *,
        backoff_s: float,
        started_at: float,
        wait_until: float = 0.0,
        now: Callable[[], float] = clock.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`started_at` is when the first attempt began, `wait_until` until when the
        caller may be kept waiting for a rate limit; both on the clock of `now`.
        """
        self._route = route
        self._budget = budget
        self._backoff_s = backoff_s
        self._started_at = started_at
        self._wait_until = wait_until
        self._now = now
        self._jitter = jitter
        self._hosts: set[Address] = set()
        self._questions: set[tuple[Address, str, str | None]] = set()
        self._candidates = list(route.candidates)
        self._queue = list(route.candidates)
        self._takes_newcomers = True
        self._fell_back = False
        self._retried = False
        self._woken = False
        self._rerouted: set[Candidate] = set()
        self._loading: Candidate | None = None
        self._loading_asks = 0
        self._limited: dict[Candidate, float] = {}
        self._told: dict[Ending, GatewayError] = {}

    def after(self, tried: Candidate, outcome: Outcome, key: int = 0) -> Step:
        """Decide; `key` is the place of the key that was used.

        Must not be asked after ANSWERED. Where the caller has left, the Stop carries
        whatever error the outcome has.
        """
        ending, error = outcome.ending, outcome.error
        assert error is not None  # a failure always has one
        self._note(tried, outcome, error, key)
        if ending in _FINAL or outcome.spent:
            return Stop(error)
        if ending is Ending.TOO_LONG:
            self._takes_newcomers = False
            self._queue = list(self._route.context_fallbacks())
            return self._another() or Stop(error)
        if ending in (Ending.RATE_LIMITED, Ending.KEY_REFUSED):
            if key + 1 < len(tried.provider.config.keys):
                return Next(tried, key=key + 1, why="next key")
        elif outcome.absent is not None and tried not in self._rerouted:
            self._rerouted.add(tried)
            asked = ASKABLE[outcome.absent]
            if tried.instead_of(asked, asked) is not asked:
                # It has not been refused yet: nothing to tell anybody.
                self._told.pop(ending)
                return Next(tried, key=key, why="by another route")
        elif ending is Ending.TIMED_OUT:
            # Its own time is used up; a fallback is another affair.
            self._queue, self._takes_newcomers = [], False
        return (
            self._another()
            or self._newcomer()
            or self._again(tried, outcome)
            or self._fallback()
            or self._await_loading(outcome)
            or self._await_limit()
            or self._rouse()
            or Stop(self._most_hopeful(error))
        )

    def still(
        self, step: Next | Rouse, is_live: Callable[[Candidate], bool]
    ) -> tuple[Candidate, ...]:
        """Answer who may be asked, where providers change while a step waits for a slot.

        When nobody is left, raises what the caller is told, or answers nobody where
        none has failed.
        """
        if is_live(step.candidate):
            return (step.candidate, *step.others)
        self._queue = [c for c in self._queue if is_live(c)]
        instead = self._another() or self._newcomer() or self._fallback()
        if instead is not None:
            return (instead.candidate, *instead.others)
        if not self._told:
            return ()
        raise self._most_hopeful(next(iter(self._told.values())))

    def _note(
        self, tried: Candidate, outcome: Outcome, error: GatewayError, key: int
    ) -> None:
        ending = outcome.ending
        self._told.setdefault(ending, error)
        address = _address(tried)
        if ending in OF_HOST:
            self._hosts.add(address)
        else:
            self._questions.add((address, tried.upstream_model, _key(tried, key)))
        self._queue = [c for c in self._queue if c is not tried]
        if ending is Ending.LOADING:
            self._loading = tried
        elif self._loading is tried:
            self._loading = None
        self._limited.pop(tried, None)
        if ending is Ending.RATE_LIMITED:
            pause_s = outcome.retry_after_s or RATE_PAUSE_S
            self._limited[tried] = self._now() + pause_s

    def _another(self) -> Next | None:
        fresh = [c for c in self._queue if self._is_fresh(c) and self._route.is_open(c)]
        return Next(fresh[0], others=tuple(fresh[1:])) if fresh else None

    def _newcomer(self) -> Next | None:
        if not self._takes_newcomers:
            return None
        known = {c.where for c in self._candidates}
        come = [c for c in self._route.now() if c.where not in known]
        self._candidates += come
        self._queue += come
        return self._another() if come else None

    def _is_fresh(self, candidate: Candidate) -> bool:
        """Tell whether its host has not failed, nor been asked the very same."""
        if not candidate.provider.usable:
            return False
        address = _address(candidate)
        question = (address, candidate.upstream_model, _key(candidate, 0))
        return address not in self._hosts and question not in self._questions

    def _again(self, tried: Candidate, outcome: Outcome) -> Next | None:
        """Ask the only candidate once more, if that can neither hurt nor be in vain."""
        if self._retried or outcome.ending not in _WORTH_A_RETRY or self._fell_back:
            return None
        if {_address(c) for c in self._candidates} - {_address(tried)}:
            return None
        if _may_be_loading(tried) and outcome.ending is Ending.BROKEN:
            return None  # it would begin to load from the start
        pause_s = outcome.retry_after_s or 0.0
        if pause_s > LONGEST_PAUSE_S or not self._budget.try_retry(tried.provider.id):
            return None
        self._retried = True
        delay_s = max(pause_s, self._backoff_s * (0.5 + self._jitter()))
        return Next(tried, delay_s, why="retry")

    def _fallback(self) -> Next | None:
        if self._fell_back:
            return None
        self._fell_back = True
        self._queue = list(self._route.fallbacks())
        step = self._another()
        if step is None:
            return None
        return Next(step.candidate, why="fallback", others=step.others)

    def _await_loading(self, outcome: Outcome) -> Next | None:
        candidate = self._loading
        if candidate is None:
            return None
        ends_at = self._started_at + candidate.provider.config.timeouts.first_byte
        left_s = ends_at - self._now()
        if left_s <= 0:
            return None
        turn = min(self._loading_asks, len(_LOADING_PAUSES_S) - 1)
        self._loading_asks += 1
        pause_s = _LOADING_PAUSES_S[turn]
        if outcome.ending is Ending.LOADING and outcome.retry_after_s:
            pause_s = min(outcome.retry_after_s, _LONGEST_LOADING_PAUSE_S)
        pause_s *= 1.0 + 0.2 * self._jitter()
        return Next(candidate, min(pause_s, left_s), why="it is loading")

    def _await_limit(self) -> Next | None:
        soonest = min(self._limited, key=self._limited.__getitem__, default=None)
        if soonest is None or self._limited[soonest] > self._wait_until:
            return None
        delay_s = max(0.0, self._limited[soonest] - self._now())
        # Not all who wait at the very moment at which the limit ends.
        delay_s += min(1.0, 0.1 * delay_s) * self._jitter()
        return Next(soonest, delay_s, why="its rate limit is over")

    def _rouse(self) -> Rouse | None:
        unreachable = self._told.get(Ending.UNREACHABLE)
        if self._woken or unreachable is None or len(self._told) > 1:
            return None
        for candidate in self._candidates:
            if candidate.provider.config.wake is not None:
                self._woken = True
                return Rouse(candidate, unreachable)
        return None

    def _most_hopeful(self, last: GatewayError) -> GatewayError:
        told = next((self._told[e] for e in _TELLING if e in self._told), last)
        if told is self._told.get(Ending.RATE_LIMITED) and self._limited:
            told.retry_after_s = max(0.0, min(self._limited.values()) - self._now())
        return told


def _address(candidate: Candidate) -> Address:
    return address_of(candidate.provider.config.base_url)


def _key(candidate: Candidate, place: int) -> str | None:
    keys = candidate.provider.config.keys
    return keys[place] if place < len(keys) else None


def _may_be_loading(candidate: Candidate) -> bool:
    return candidate.warm is False or candidate.provider.health is Status.LOADING
