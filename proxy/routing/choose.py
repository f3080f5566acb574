"""Chooses among the candidates of a model: who could serve this request, best first.

Left out is who lacks what the request needs, has too small a context, is cooling
down or broken; the order is that of the catalogue, among equals that of affinity,
else of who is least busy. With one candidate, nothing restricted and all well, that
is a comparison and a few look-ups. `explain` tells the same story in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, Protocol

from msgspec import Struct

from providers.base import ASKABLE, Operation
from proxy.core.errors import CallerFault, GatewayError, ProviderFault
from proxy.routing import select
from proxy.routing.affinity import Affinity, Marks
from proxy.routing.breaker import Breaker, Circuit
from proxy.routing.catalog import AUTO, Catalog, Resolution
from proxy.routing.model import Candidate
from proxy.routing.needs import Fit, Needs, prompt_field, trait_field
from proxy.state.base import Cooldowns

_PROBED_S: Final = 1.0
_OPEN_S: Final = 0.01  # it has opened since it was looked at: look again at once
_NO_LIMIT: Final = 1000.0
"""Slots that a provider without a limit counts as when loads are compared."""


class Asked(Protocol):
    """A request as choosing sees it; what costs something is asked for when needed.

    `size_bytes` is the body's, 0 where it is not here. `marks` is called only where
    there are two equal candidates.
    """

    @property
    def size_bytes(self) -> int: ...

    def needs(self) -> Needs: ...

    def marks(self) -> Marks: ...


class Reason(StrEnum):
    """Why a candidate was kept or dropped."""

    KEPT = "kept"
    OUT_OF_USE = "out_of_use"  # offline, disabled, draining
    UNABLE = "unable"  # its kind cannot do the operation
    LACKING = "lacking"  # the model there cannot do what the request needs
    TOO_LONG = "too_long"
    COOLING = "cooling"  # rate limited a moment ago
    BROKEN = "broken"  # its circuit is open, or one request is probing it


_PASSING: Final = frozenset({Reason.KEPT, Reason.COOLING, Reason.BROKEN})
"""What time alone may change, or has changed."""


class Verdict(Struct, frozen=True):
    """What became of one candidate; `detail` is for people."""

    candidate: Candidate
    reason: Reason
    detail: str = ""

    @property
    def kept(self) -> bool:
        return self.reason is Reason.KEPT


class Chooser:
    """Orders candidates. Without `affinity` only load decides among equals."""

    def __init__(
        self, breaker: Breaker, cooldowns: Cooldowns, affinity: Affinity | None
    ) -> None:
        self._breaker = breaker
        self._cooldowns = cooldowns
        self._affinity = affinity

    def choose(self, resolution: Resolution, asked: Asked) -> tuple[Candidate, ...]:
        """Answer who could serve, best first; empty when nobody can now."""
        if asked.size_bytes <= resolution.ample_bytes and not self._breaker.tracks:
            if not self._cooldowns.resting:
                return resolution.candidates
            remaining_s = self._cooldowns.remaining_s
            for one in resolution.candidates:
                if remaining_s(one.where) or remaining_s(one.whole):
                    break
            else:
                return resolution.candidates
        return self._judged(resolution, asked)

    def find(
        self, catalog: Catalog, name: str, operation: Operation, asked: Asked
    ) -> tuple[Resolution, tuple[Candidate, ...]]:
        """Resolve a name and choose; `auto` finds a model that can do what is needed."""
        resolution = catalog.resolve(name, operation)
        candidates = self.choose(resolution, asked)
        if not candidates and name == AUTO and resolution.candidates:
            suitable = catalog.suitable(operation, asked.needs())
            if suitable.candidates:
                resolution = suitable
                candidates = self.choose(suitable, asked)
        return resolution, candidates

    def is_open(self, candidate: Candidate) -> bool:
        """Tell whether it may be asked now: neither cooling down nor broken."""
        return self._hindrance(candidate) is None

    def fallbacks(
        self, catalog: Catalog, resolution: Resolution, asked: Asked
    ) -> tuple[Candidate, ...]:
        """Answer who serves instead when the model's own candidates have failed."""
        return tuple(self._instead(catalog, resolution, asked, for_context=False))

    def context_fallbacks(
        self, catalog: Catalog, resolution: Resolution, asked: Asked
    ) -> tuple[Candidate, ...]:
        """Answer who serves instead when the model's context is too small."""
        return tuple(self._instead(catalog, resolution, asked, for_context=True))

    def instead(
        self, catalog: Catalog, resolution: Resolution, asked: Asked
    ) -> tuple[Candidate, ...]:
        """Answer who serves when nobody was chosen, before anything was sent."""
        needs = asked.needs()
        reasons = {self._verdict(c, needs).reason for c in resolution.candidates}
        if Reason.TOO_LONG in reasons:
            larger = self.context_fallbacks(catalog, resolution, asked)
            if larger or reasons == {Reason.TOO_LONG}:
                return larger
        return self.fallbacks(catalog, resolution, asked)

    def available_in_s(self, resolution: Resolution, asked: Asked) -> float | None:
        """Answer when the first of those that only cool down may be asked again.

        None when time alone changes nothing.
        """
        waits = map(self._opens_in_s, self.left_alone(resolution, asked))
        return min(waits, default=None)

    def left_alone(self, resolution: Resolution, asked: Asked) -> tuple[Candidate, ...]:
        """Answer who could serve but for a cooldown or a breaker, or can by now."""
        needs = asked.needs()
        return tuple(
            one
            for one in resolution.candidates
            if self._verdict(one, needs).reason in _PASSING
        )

    def refusal(self, resolution: Resolution, asked: Asked) -> GatewayError:
        """Make the error for a request that nobody was chosen for."""
        if not resolution.candidates:
            return _nobody(resolution)
        needs = asked.needs()
        verdicts = [self._verdict(c, needs) for c in resolution.candidates]
        by_reason = {verdict.reason: verdict for verdict in reversed(verdicts)}
        wait_s = self.available_in_s(resolution, asked)
        if Reason.COOLING in by_reason:
            return ProviderFault(
                "upstream_rate_limited",
                f"Every provider of `{resolution.name}` limits its requests now.",
                retry_after_s=wait_s,
            )
        if Reason.BROKEN in by_reason or Reason.KEPT in by_reason:
            return ProviderFault(
                "all_providers_unavailable",
                f"Every provider of `{resolution.name}` has failed again and again, and "
                "is left alone for a moment.",
                retry_after_s=wait_s,
            )
        if Reason.TOO_LONG in by_reason:
            detail = by_reason[Reason.TOO_LONG].detail
            return CallerFault(
                "context_length_exceeded",
                f"The request is too long for `{resolution.name}`: {detail}.",
                param=prompt_field(needs.operation),
            )
        return _lacking(resolution, verdicts, needs)

    def explain(self, resolution: Resolution, asked: Asked) -> tuple[Verdict, ...]:
        """Answer what becomes of every candidate: those kept in order, then the rest."""
        needs = asked.needs()
        kept = self.choose(resolution, asked)
        verdicts = [Verdict(c, Reason.KEPT, self._standing(c, needs)) for c in kept]
        operation = resolution.operation
        dropped = [c for c in resolution.everyone if c not in kept]
        verdicts += [self._explained(c, operation, needs) for c in dropped]
        return tuple(verdicts)

    # -- how a candidate is judged ---------------------------------------------------

    def _judged(self, resolution: Resolution, asked: Asked) -> tuple[Candidate, ...]:
        needs = asked.needs()
        fitting: list[Candidate] = []
        doubtful: list[Candidate] = []
        for group in resolution.peers:
            able = [c for c in group if self._verdict(c, needs).kept]
            for one in self._in_order(able, asked):
                fits = needs.fit(one.limits) is Fit.WELL
                (fitting if fits else doubtful).append(one)
        return (*fitting, *doubtful)

    def _in_order(self, able: list[Candidate], asked: Asked) -> list[Candidate]:
        if len(able) < 2:
            return able
        able = sorted(able, key=_load)
        if self._affinity is not None:
            marks = asked.marks()
            home = self._affinity.home(able, marks)
            if home is not None:
                # It stays there even if it failed once: others have a cold cache.
                return [home, *self._well_first([c for c in able if c is not home])]
            if marks.session or marks.chain:
                able = list(self._affinity.place(able, marks))
        return self._well_first(able)

    def _well_first(self, ordered: list[Candidate]) -> list[Candidate]:
        """Who fails fast has nothing to do, and would draw everybody's requests."""
        if self._breaker.quiet:
            return ordered
        ails = self._breaker.is_ailing
        return sorted(ordered, key=lambda c: ails(c.where) or ails(c.whole))

    def _verdict(self, candidate: Candidate, needs: Needs) -> Verdict:
        missing = needs.missing(candidate.limits)
        if missing is not None:
            return Verdict(candidate, Reason.LACKING, f"no {missing}")
        if needs.fit(candidate.limits) is Fit.TOO_LONG:
            detail = f"its context is {candidate.limits.window} tokens"
            return Verdict(candidate, Reason.TOO_LONG, detail)
        hindrance = self._hindrance(candidate)
        if hindrance is not None:
            wait_s = self._cools_for_s(candidate)
            detail = f"for {wait_s:.0f} s" if wait_s else "another request probes it"
            return Verdict(candidate, hindrance, detail)
        return Verdict(candidate, Reason.KEPT)

    def _hindrance(self, candidate: Candidate) -> Reason | None:
        for where in (candidate.where, candidate.whole):
            if not self._breaker.allows(where):
                return Reason.BROKEN
            if self._cooldowns.remaining_s(where):
                return Reason.COOLING
        return None

    def _opens_in_s(self, candidate: Candidate) -> float:
        if self.is_open(candidate):
            return _OPEN_S
        # One that is being probed has no time of its own: look again soon.
        return self._cools_for_s(candidate) or _PROBED_S

    def _cools_for_s(self, candidate: Candidate) -> float:
        return max(
            self._cooldowns.remaining_s(candidate.where),
            self._cooldowns.remaining_s(candidate.whole),
        )

    def _instead(
        self,
        catalog: Catalog,
        resolution: Resolution,
        asked: Asked,
        *,
        for_context: bool,
    ) -> Iterator[Candidate]:
        """Yield the candidates of the fallbacks, and of theirs; each place once."""
        seen = {c.where for c in resolution.candidates}
        named = {resolution.name}
        waiting = [resolution]
        while waiting:
            config = waiting.pop(0).config
            if config is None:
                continue
            names = config.context_fallbacks if for_context else config.fallbacks
            for name in names:
                if name in named:
                    continue
                named.add(name)
                found = catalog.resolve(name, ASKABLE[resolution.operation])
                if resolution.narrow is not None:
                    found = resolution.narrow(found)
                waiting.append(found)
                for candidate in self.choose(found, asked):
                    if candidate.where not in seen:
                        seen.add(candidate.where)
                        yield candidate

    def _standing(self, candidate: Candidate, needs: Needs) -> str:
        provider = candidate.provider
        words = [f"priority {provider.config.priority}", provider.status.value]
        if candidate.warm is not None:
            words.append("warm" if candidate.warm else "cold")
        slots = "no limit" if provider.slots is None else f"{provider.slots} slots"
        words.append(f"{provider.active} active of {slots}")
        if needs.fit(candidate.limits) is Fit.DOUBTFUL:
            words.append("its context may be too small")
        if self._breaker.state(candidate.where) is Circuit.HALF_OPEN:
            words.append("probing")
        return ", ".join(words)

    def _explained(self, candidate: Candidate, operation: str, needs: Needs) -> Verdict:
        provider = candidate.provider
        if not provider.usable:
            why = f": {provider.last_error}" if provider.last_error else ""
            return Verdict(candidate, Reason.OUT_OF_USE, f"{provider.status}{why}")
        if provider.adapter.way(ASKABLE[operation]) is None:
            detail = f"{provider.kind} cannot do {operation}"
            return Verdict(candidate, Reason.UNABLE, detail)
        return self._verdict(candidate, needs)


def _load(candidate: Candidate) -> float:
    provider = candidate.provider
    return provider.active / (provider.slots or _NO_LIMIT)


def _nobody(resolution: Resolution) -> GatewayError:
    try:
        select.candidates(resolution)
    except GatewayError as error:
        return error
    raise AssertionError(resolution)


def _lacking(
    resolution: Resolution, verdicts: list[Verdict], needs: Needs
) -> CallerFault:
    details = dict.fromkeys(verdict.detail for verdict in verdicts)
    missing = (needs.missing(verdict.candidate.limits) for verdict in verdicts)
    fields = (trait_field(t, needs.operation) for t in missing if t is not None)
    param = next(fields, "model")
    return CallerFault(
        "unsupported_operation",
        f"`{resolution.name}` has {', '.join(details)}; GET /v1/models lists what "
        "each model can do.",
        param=param,
    )
