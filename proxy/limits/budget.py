"""Budgets of keys and tenants: money is set aside before a request, and settled.

Which accounts a principal draws on, and what is said when one is empty; the counting
is in `spending`. What is free is never held back. A price that nobody knows cannot be
set aside, so a model without one is refused under a budget, unless the operator says
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.config.schema_policy import BudgetsConfig, TenantBudget
from proxy.core.errors import CallerFault
from proxy.core.patterns import best
from proxy.core.types import Budget, Principal
from proxy.limits.spending import NANO, Spending, shown_usd, to_nano
from proxy.state.money import Account, Draw, Kind, Lease, Spent

_REMEMBERED: Final = 4096
_THIS: Final = {"key": "this key", "tenant": "this tenant"}


class BudgetReached(CallerFault):
    """A budget holds the request off: 402 `budget_exceeded`."""

    lines: Final = ""


class Held:
    """Money that is set aside, until the end of its `with`.

    What it did not `cost` by then is given back.
    """

    __slots__ = ("_cost", "_counters", "_lease")

    def __init__(self, counters: Spending, lease: Lease | None) -> None:
        self._counters = counters
        self._lease = lease
        self._cost = 0

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def cost(self, usd: float | None) -> None:
        """Say what it did cost; None: it was sent, and nobody knows."""
        if self._lease is not None:
            self._cost = self._lease.amount if usd is None else to_nano(usd)

    def end(self) -> None:
        """Settle; once, however often it is asked for."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._counters.settle(lease, self._cost)


class Budgets:
    """Holds principals to their budgets. It outlives a reload: see `adopt`.

    `is_on`: the configuration itself has some. `nothing` is held of what is free.
    """

    def __init__(self, config: BudgetsConfig, counters: Spending) -> None:
        self._counters = counters
        self.nothing = Held(counters, None)
        self.adopt(config)

    def adopt(self, config: BudgetsConfig) -> None:
        """Hold to another configuration; what was spent stays spent."""
        self._config = config
        self.is_on = bool(config.by_tenant)
        self.allow_unpriced = config.allow_unpriced
        self._known: dict[int, tuple[Principal, tuple[Draw, ...]]] = {}

    def hold(self, principal: Principal) -> bool:
        """Tell whether a budget does: if not, no cost need be estimated."""
        if not self.is_on and principal.budget is None:
            return False
        return bool(self._draws(principal))

    @property
    def aside_usd(self) -> float:
        """How much is set aside here for requests under way."""
        return self._counters.aside / NANO

    def try_reserve(
        self, principal: Principal, estimate_usd: float | None
    ) -> Held | None:
        """Set an estimate aside; None where `reserve` must be awaited.

        `estimate_usd` is None where the price is not known. Raises BudgetReached.
        """
        draws = self._draws(principal)
        if not draws or estimate_usd == 0.0:
            return self.nothing
        found = self._counters.try_reserve(draws, self._amount(estimate_usd))
        return None if found is None else self._held(found)

    async def reserve(self, principal: Principal, estimate_usd: float | None) -> Held:
        """As `try_reserve`, but waits until what was spent before is known."""
        draws = self._draws(principal)
        if not draws or estimate_usd == 0.0:
            return self.nothing
        amount = self._amount(estimate_usd)
        return self._held(await self._counters.reserve(draws, amount))

    def _draws(self, principal: Principal) -> tuple[Draw, ...]:
        # By identity, as in proxy.limits.rate.
        known = self._known.get(id(principal))
        if known is not None and known[0] is principal:
            return known[1]
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        draws = tuple(self._draws_of(principal))
        self._known[id(principal)] = principal, draws
        return draws

    def _draws_of(self, principal: Principal) -> Iterator[Draw]:
        if principal.key is not None and principal.budget is not None:
            yield _draw("key", principal.key, principal.budget)
        budget = best(self._config.by_tenant, principal.tenant)
        if budget is not None:
            yield _draw("tenant", principal.tenant, budget)

    def _amount(self, estimate_usd: float | None) -> int:
        """Answer what to set aside; what nobody can price sets nothing aside."""
        if estimate_usd is not None:
            return max(0, to_nano(estimate_usd))
        if self._config.allow_unpriced:
            return 0
        raise BudgetReached(
            "budget_exceeded",
            "A budget holds, and this model has no known price.",
            param="model",
        )

    def _held(self, found: Lease | Spent) -> Held:
        if isinstance(found, Lease):
            return Held(self._counters, found)
        raise BudgetReached(
            "budget_exceeded",
            f"The {found.period} budget of {_THIS[found.account.kind]}, "
            f"{shown_usd(found.limit)}, has too little left for this request.",
            retry_after_s=found.retry_after_s,
        )


def _draw(kind: Kind, name: str, budget: Budget | TenantBudget) -> Draw:
    return Draw(Account(kind, name), _nano(budget.daily_usd), _nano(budget.monthly_usd))


def _nano(usd: float | None) -> int | None:
    return None if usd is None else to_nano(usd)
