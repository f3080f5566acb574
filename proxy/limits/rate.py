"""Limits of requests, tokens and concurrency: reserved before the work, settled after.

Counting is the state's affair (proxy.state), which allowances a request draws on that
of `plan`. A reservation is held around all of the call, streams included, and ended
once, so that nothing of it can be forgotten.
"""

from __future__ import annotations

from typing import Final

from proxy.config.schema_policy import RateLimitsConfig
from proxy.core import clock
from proxy.core.errors import CallerFault
from proxy.core.types import Principal
from proxy.limits.headers import duration, rate_lines
from proxy.limits.plan import Caller, Plan, plan_for
from proxy.limits.toll import Toll
from proxy.state.base import Bound, Charge, Grant, Level, RateCounters, SlotCounts

_REMEMBERED: Final = 4096
# When one of the requests under way ends is not known.
_BUSY_RETRY_S: Final = 1.0
_POLL_S: Final = 0.005
_POLLS: Final = 200


class LimitReached(CallerFault):
    """A limit holds the request off. `lines` tell how its allowances stand."""

    def __init__(
        self, code: str, message: str, *, retry_after_s: float, lines: str = ""
    ) -> None:
        super().__init__(code, message, retry_after_s=retry_after_s)
        self.lines = lines


class Reserved:
    """What a request has reserved, until the end of its `with`.

    What it did not `use` by then is given back, save that it was a request.
    """

    __slots__ = ("_bounds", "_grant", "_limits", "_plan", "_tokens")

    def __init__(self, limits: RateLimits, plan: Plan, grant: Grant) -> None:
        self._limits = limits
        self._plan: Plan | None = plan
        self._grant = grant
        self._bounds: tuple[Bound, ...] = plan.bounds
        self._tokens: float | None = 0.0

    def __enter__(self) -> Reserved:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def counts_tokens(self) -> bool:
        """False where it does not matter how many are used."""
        return self._plan is not None and bool(self._plan.tokens)

    def use(self, tokens: int | None) -> None:
        """Say how many tokens were used; None: it was sent, and nobody knows."""
        self._tokens = tokens

    def lines(self) -> str:
        """Answer the x-ratelimit-* fields as they stood when it was granted."""
        return "" if self._plan is None else _lines(self._plan, self._grant)

    def leave_place(self) -> None:
        """Give back the place among those at the same time, and nothing else."""
        bounds, self._bounds = self._bounds, ()
        if bounds:
            self._limits.slots.give_back(bounds)

    def end(self) -> None:
        """Give back and settle; once, however often it is asked for."""
        plan, self._plan = self._plan, None
        if self._bounds:
            self.leave_place()
        if plan is None or not plan.tokens or self._tokens is None:
            return
        used = float(self._tokens)
        costs = (*(1.0 for _ in plan.requests), *(used for _ in plan.tokens))
        self._limits.rates.settle(self._grant, costs)


class RateLimits:
    """Holds callers to their limits. It outlives a reload: `adopt` takes the new one.

    `is_on`: the configuration itself limits somebody.
    """

    def __init__(
        self, config: RateLimitsConfig, rates: RateCounters, slots: SlotCounts
    ) -> None:
        self.rates = rates
        self.slots = slots
        self.adopt(config)

    def adopt(self, config: RateLimitsConfig) -> None:
        """Hold to another configuration; what has been used stays used."""
        self._config = config
        self.is_on = config != RateLimitsConfig()
        self.by_user = bool(config.by_user)
        self.by_model = bool(config.by_model)
        self._plans: dict[_Place, tuple[Principal, Plan | None]] = {}

    def plan_of(
        self,
        principal: Principal,
        address: str = "",
        model: str | None = None,
        user: str | None = None,
    ) -> Plan | None:
        """Answer what limits a request; None when nothing does.

        `address` is that of who is not known; `model` and `user` matter where there are
        limits of them. Remembered by identity: a principal comes again, and hashing
        one costs more than all of this.
        """
        place: _Place = id(principal)
        if address or model is not None or user is not None:
            place = id(principal), address, model, user
        known = self._plans.get(place)
        if known is not None and known[0] is principal:
            return known[1]
        if len(self._plans) >= _REMEMBERED:
            self._plans.clear()
        plan = None
        if self.is_on or principal.limits is not None:
            plan = plan_for(self._config, Caller(principal, address, model, user))
        self._plans[place] = principal, plan
        return plan

    def toll(self, plan: Plan) -> Toll | None:
        """Answer what such a request draws on, where that is a number of requests and
        nothing else; it holds until `adopt`.
        """
        if plan.tokens or plan.bounds or len(plan.requests) != 1:
            return None
        return Toll(self.rates, plan.requests[0], plan.headings[0])

    def try_reserve(self, plan: Plan, tokens: int) -> Reserved | None:
        """Reserve a request of so many tokens; None where `reserve` must be awaited.

        Raises LimitReached `rate_limit_exceeded`, `token_limit_exceeded`.
        """
        if plan.bounds:
            # `reserve` asks, or they would be asked twice for one request.
            taken = self.slots.try_take(plan.bounds, ask=False)
            if taken is None:
                return None
            if not taken:
                raise _busy(plan)
        grant = self.rates.try_reserve(plan.charges(tokens))
        if grant is None:
            if plan.bounds:
                self.slots.give_back(plan.bounds)
            return None
        return self._reserved(plan, grant)

    async def reserve(self, plan: Plan, tokens: int) -> Reserved:
        """As `try_reserve`, but waits for the answer of whoever counts."""
        if plan.bounds and not await self._taken(plan.bounds):
            raise _busy(plan)
        try:
            grant = await self.rates.reserve(plan.charges(tokens))
        except BaseException:
            self.slots.give_back(plan.bounds)
            raise
        return self._reserved(plan, grant)

    async def _taken(self, bounds: tuple[Bound, ...]) -> bool:
        for _ in range(_POLLS):
            taken = self.slots.try_take(bounds)
            if taken is not None:
                return taken
            await clock.sleep(_POLL_S)
        return False

    def _reserved(self, plan: Plan, grant: Grant) -> Reserved:
        if grant.retry_after_s == 0.0:
            return Reserved(self, plan, grant)
        if plan.bounds:
            self.slots.give_back(plan.bounds)
        raise _refusal(plan, grant)


_Place = int | tuple[int, str, str | None, str | None]


def _lines(plan: Plan, grant: Grant) -> str:
    headings, levels = plan.headings, grant.levels
    count = len(plan.requests)
    if count == len(levels):
        return rate_lines("requests", headings, levels)
    return rate_lines("requests", headings[:count], levels[:count]) + rate_lines(
        "tokens", headings[count:], levels[count:]
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
        f"reached; the request can be made in {duration(grant.retry_after_s)}.",
        retry_after_s=grant.retry_after_s,
        lines=_lines(plan, grant),
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
