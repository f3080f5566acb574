"""Limits of requests, tokens and concurrency: reserved before the work, settled after.

Counting is the state's affair (proxy.state), which allowances a request draws on that
of `plan`. Without any limit a request costs one comparison here. A reservation is
held in one `with` around all of the call, streams included, so that nothing of it can
be forgotten.
"""

from __future__ import annotations

from typing import Final

from proxy.config.schema_policy import RateLimitsConfig
from proxy.core import clock
from proxy.core.errors import CallerFault
from proxy.core.types import Pair, Principal
from proxy.limits.headers import rate_headers
from proxy.limits.plan import Caller, Plan, plan_for
from proxy.state.base import Bound, Charge, Grant, Level, RateCounters, SlotCounts

_REMEMBERED: Final = 4096
# When one of the requests under way ends is not known.
_BUSY_RETRY_S: Final = 1.0
_POLL_S: Final = 0.005
_POLLS: Final = 200


class LimitReached(CallerFault):
    """A limit holds the request off. `headers` tell how its allowances stand."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retry_after_s: float,
        headers: tuple[Pair, ...] = (),
    ) -> None:
        super().__init__(code, message, retry_after_s=retry_after_s)
        self.headers = headers


class Reservation:
    """What a request has reserved, until the end of its `with`.

    What it did not `use` by then is given back, save that it was a request.
    """

    __slots__ = ("_bounds", "_grant", "_limits", "_plan", "_tokens")

    def __init__(
        self, limits: RateLimits, plan: Plan | None, grant: Grant | None
    ) -> None:
        self._limits = limits
        self._plan = plan
        self._grant = grant
        self._bounds: tuple[Bound, ...] = () if plan is None else plan.bounds
        self._tokens: float | None = 0.0

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def use(self, tokens: int | None) -> None:
        """Say how many tokens were used; None: it was sent, and nobody knows."""
        self._tokens = tokens

    def headers(self) -> tuple[Pair, ...]:
        """Answer the x-ratelimit-* fields as they stood when it was granted."""
        if self._plan is None or self._grant is None:
            return ()
        return _headers(self._plan, self._grant)

    def end(self) -> None:
        """Give back and settle; once, however often it is asked for."""
        bounds, self._bounds = self._bounds, ()
        if bounds:
            self._limits.slots.give_back(bounds)
        grant, self._grant = self._grant, None
        plan, tokens = self._plan, self._tokens
        if grant is None or plan is None or tokens is None or not plan.tokens:
            return
        ones = (1.0,) * len(plan.requests)
        self._limits.rates.settle(grant, (*ones, *(float(tokens) for _ in plan.tokens)))


class RateLimits:
    """Holds callers to their limits. It outlives a reload: `adopt` takes the new one."""

    def __init__(
        self, config: RateLimitsConfig, rates: RateCounters, slots: SlotCounts
    ) -> None:
        self.rates = rates
        self.slots = slots
        self._nothing = Reservation(self, None, None)
        self._plans: dict[tuple[int, str, str | None, str | None], _Remembered] = {}
        self.adopt(config)

    def adopt(self, config: RateLimitsConfig) -> None:
        """Hold to another configuration; what has been used stays used."""
        self._config = config
        self._is_off = config == RateLimitsConfig()
        self._plans = {}

    def may_limit(self, principal: Principal) -> bool:
        """Tell whether anything may: if not, nothing need be asked or estimated."""
        return not self._is_off or principal.limits is not None

    def try_reserve(self, caller: Caller, tokens: int) -> Reservation | None:
        """Reserve a request of so many tokens; None where `reserve` must be awaited.

        Raises LimitReached `rate_limit_exceeded`, `token_limit_exceeded`.
        """
        plan = self._plan(caller)
        if plan is None:
            return self._nothing
        taken = self.slots.try_take(plan.bounds) if plan.bounds else True
        if not taken:
            if taken is None:
                return None
            raise _busy(plan)
        grant = self._granted_or_freed(plan, tokens)
        return None if grant is None else self._reserved(plan, grant)

    async def reserve(self, caller: Caller, tokens: int) -> Reservation:
        """As `try_reserve`, but waits for the answer of whoever counts."""
        plan = self._plan(caller)
        if plan is None:
            return self._nothing
        if plan.bounds and not await self._taken(plan.bounds):
            raise _busy(plan)
        try:
            grant = await self.rates.reserve(plan.charges(tokens))
        except BaseException:
            self.slots.give_back(plan.bounds)
            raise
        return self._reserved(plan, grant)

    def _plan(self, caller: Caller) -> Plan | None:
        principal = caller.principal
        if not self.may_limit(principal):
            return None
        # By identity: a principal is remembered and comes again, and hashing one
        # costs more than all of this.
        key = id(principal), caller.address, caller.model, caller.user
        known = self._plans.get(key)
        if known is not None and known[0] is principal:
            return known[1]
        if len(self._plans) >= _REMEMBERED:
            self._plans.clear()
        plan = plan_for(self._config, caller)
        self._plans[key] = principal, plan
        return plan

    async def _taken(self, bounds: tuple[Bound, ...]) -> bool:
        for _ in range(_POLLS):
            taken = self.slots.try_take(bounds)
            if taken is not None:
                return taken
            await clock.sleep(_POLL_S)
        return False

    def _granted_or_freed(self, plan: Plan, tokens: int) -> Grant | None:
        """Answer a grant, refused or not; None, with nothing taken, if it must wait."""
        grant = self.rates.try_reserve(plan.charges(tokens))
        if grant is None and plan.bounds:
            self.slots.give_back(plan.bounds)
        return grant

    def _reserved(self, plan: Plan, grant: Grant) -> Reservation:
        if grant.granted:
            return Reservation(self, plan, grant)
        if plan.bounds:
            self.slots.give_back(plan.bounds)
        raise _refusal(plan, grant)


_Remembered = tuple[object, Plan | None]


def _headers(plan: Plan, grant: Grant) -> tuple[Pair, ...]:
    count = len(plan.requests)
    stands = list(zip(grant.charges, grant.levels, strict=True))
    return (
        *rate_headers("requests", stands[:count]),
        *rate_headers("tokens", stands[count:]),
    )


def _busy(plan: Plan) -> LimitReached:
    most = min(limit for _, limit in plan.bounds if limit is not None)
    return LimitReached(
        "rate_limit_exceeded",
        f"No more than {most} requests may be under way at the same time.",
        retry_after_s=_BUSY_RETRY_S,
    )


def _refusal(plan: Plan, grant: Grant) -> LimitReached:
    stands = list(zip(grant.charges, grant.levels, strict=True))
    at = max(range(len(stands)), key=lambda i: _missing_s(*stands[i]))
    charge, _ = stands[at]
    is_tokens = at >= len(plan.requests)
    what = "tokens" if is_tokens else "requests"
    whose = charge.key.partition(":")[0]
    amount, period_s = charge.rate.amount, charge.rate.period_s
    return LimitReached(
        "token_limit_exceeded" if is_tokens else "rate_limit_exceeded",
        f"The limit of {amount:.0f} {what} in {period_s:.0f} s ({_WHOSE[whose]}) is "
        f"reached; the request can be made in {grant.retry_after_s:.3g} s.",
        retry_after_s=grant.retry_after_s,
        headers=_headers(plan, grant),
    )


_WHOSE: Final = {
    "key": "of this key",
    "token": "of this user",
    "ip": "of this address",
    "tenant": "of this tenant",
    "user": "of this user",
    "model": "of this model",
}


def _missing_s(charge: Charge, level: Level) -> float:
    """Answer how long the allowance takes to hold what is charged."""
    rate = charge.rate
    missing = min(charge.cost, rate.amount) - level.remaining
    return missing * rate.period_s / rate.amount
