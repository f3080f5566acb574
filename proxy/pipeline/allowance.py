"""How much a caller may use: asked once it is known who calls for what, told at the end.

Here requests meet limits and budgets (proxy.limits), which know no request. The usual
answer comes at once; only where somebody else counts, or what was spent before is not
known yet, `reserve` has to be awaited. Who is limited by nothing need not be asked
about: then neither `is_on` nor the principal's own `is_limited` holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol

from providers.base import ASKABLE
from proxy.auth.client_address import group_of
from proxy.config import Config
from proxy.core.types import Principal, Record
from proxy.limits.budget import BudgetReached, Budgets, Held
from proxy.limits.estimate import estimate_tokens
from proxy.limits.plan import Plan
from proxy.limits.rate import RateLimits, Reserved
from proxy.limits.toll import Toll
from proxy.pipeline.end_user import end_user
from proxy.pipeline.tariff import Costs, Tariff, costs_of
from proxy.routing.catalog import Catalog, Resolution

_LEFT: Final = 499
_ADDRESSES: Final = 4096
_NO_SIZE: Final = (0, 0)
# It asks how many tokens there are, and uses none.
_COUNTING: Final = "count_tokens"
_WRITING: Final = frozenset({
    "chat", "completions", "responses", "messages", "ollama_chat", "ollama_generate",
})  # fmt: skip


class Sizes(Protocol):
    """proxy.routing.needs.Needs is one."""

    def sizes(self) -> tuple[int, int]: ...


class Asked(Protocol):
    """A request, as far as its size matters; `pinned` is who serves it if settled."""

    @property
    def model(self) -> str: ...

    @property
    def pinned(self) -> Resolution | None: ...

    def needs(self) -> Sizes: ...

    def value(self, name: str) -> object: ...


class Reservation:
    """What one request has set aside; `settle` ends it, once, on every way out.

    `lines` are the x-ratelimit-* fields of its reply, `tariff` whom money lets it ask.
    """

    __slots__ = (
        "_money",
        "_prompt",
        "_prompt_usd",
        "_reserved",
        "lines",
        "tariff",
    )

    def __init__(
        self,
        reserved: Reserved | None,
        money: Held | None = None,
        tariff: Tariff = Tariff.ANY,
        sizes: tuple[int, int] = _NO_SIZE,
        prompt_usd: float = 0.0,
    ) -> None:
        """`sizes` are the tokens expected of prompt and answer; `prompt_usd` is what the
        first of them costs.
        """
        self._reserved = reserved
        self._money = money
        self._prompt = sizes[0]
        self._prompt_usd = prompt_usd
        self.lines = "" if reserved is None else reserved.lines()
        self.tariff = tariff

    def settle(self, record: Record) -> None:
        """Take what was used, give back the rest; once, however often it is asked for."""
        reserved, self._reserved = self._reserved, None
        if reserved is not None:
            if reserved.counts_tokens:
                reserved.use(_used(record, self._prompt))
            reserved.end()
        money, self._money = self._money, None
        if money is not None:
            money.cost(self._cost(record))
            money.end()

    def _cost(self, record: Record) -> float | None:
        """Answer the cost; None where it was answered and nobody said how long."""
        if record.cost_usd is not None:
            return record.cost_usd
        if record.usage_source != "none":
            return 0.0  # counted, and nobody knows the price
        used = _used(record, self._prompt)
        return used and self._prompt_usd


UNLIMITED: Final = Reservation(None)
"""That of whoever is limited by nothing; it has no end."""


class Allowance:
    """Holds callers to limits and budgets. It outlives a reload: see `adopt`.

    `refused` counts those that were held off, by code; `terms` is another object once
    limits have changed.
    """

    def __init__(
        self, limits: RateLimits, budgets: Budgets, catalog: Callable[[], Catalog]
    ) -> None:
        self._limits = limits
        self._budgets = budgets
        self.refused: Counter[str] = Counter()
        self._catalog = catalog
        self._group = lru_cache(maxsize=_ADDRESSES)(group_of)
        self.is_on = limits.is_on or budgets.is_on
        self.terms = object()

    def adopt(self, config: Config) -> None:
        """Hold to another configuration; what has been used stays used."""
        self._limits.adopt(config.rate_limits)
        self._budgets.adopt(config.budgets)
        self.is_on = self._limits.is_on or self._budgets.is_on
        self.terms = object()

    def toll(
        self, principal: Principal, peer: str, operation: str, asked: Asked
    ) -> Toll | None:
        """Answer what all requests of this kind draw on, while `terms` are the same.

        None where it is more than a number of requests, or not the same for all.
        """
        if principal.key is None and principal.user is None:
            return None  # that of an address
        if self._limits.by_user and principal.user is None:
            return None  # of whom each body names
        if self._budgets.hold(principal):
            return None
        plan = self._plan(principal, peer, operation, asked)
        return None if plan is None else self._limits.toll(plan)

    def has_budget(self, principal: Principal) -> bool:
        """Tell whether a budget holds: who may be asked then depends on prices."""
        return self._budgets.hold(principal)

    @property
    def aside_usd(self) -> float:
        """How much money is set aside for requests under way."""
        return self._budgets.aside_usd

    def asks_for_model(self, principal: Principal) -> bool:
        """Tell whether it matters of which model a request is."""
        return self._limits.by_model or self._budgets.hold(principal)

    def try_reserve(
        self, principal: Principal, peer: str, operation: str, asked: Asked
    ) -> Reservation | None:
        """Reserve one request; None where `reserve` must be awaited: nothing is taken.

        Raises LimitReached, BudgetReached, CallerFault `invalid_field`.
        """
        limits = self._limits
        plan = self._plan(principal, peer, operation, asked)
        if operation == _COUNTING or not self._budgets.hold(principal):
            if plan is None:
                return UNLIMITED
            sizes = _sizes(operation, asked) if plan.tokens else _NO_SIZE
            found = limits.try_reserve(plan, sum(sizes))
            return None if found is None else Reservation(found, sizes=sizes)
        sizes = _sizes(operation, asked)
        costs = self._costs(operation, asked, sizes)
        usd, tariff = self._terms(costs)
        try:
            money = self._budgets.try_reserve(principal, usd)
        except BudgetReached:
            if not costs.has_free:
                raise
            money, tariff = self._budgets.nothing, Tariff.FREE
        if money is None:
            return None
        reserved: Reserved | None = None
        if plan is not None:
            try:
                reserved = limits.try_reserve(plan, sum(sizes))
            finally:
                if reserved is None:
                    money.end()
            if reserved is None:
                return None
        return Reservation(reserved, money, tariff, sizes, costs.prompt_usd)

    async def reserve(
        self, principal: Principal, peer: str, operation: str, asked: Asked
    ) -> Reservation:
        """As `try_reserve`, but waits for the answer of whoever counts."""
        plan = self._plan(principal, peer, operation, asked)
        sizes, money, tariff = _sizes(operation, asked), None, Tariff.ANY
        prompt_usd = 0.0
        if operation != _COUNTING and self._budgets.hold(principal):
            costs = self._costs(operation, asked, sizes)
            usd, tariff = self._terms(costs)
            prompt_usd = costs.prompt_usd
            try:
                money = await self._budgets.reserve(principal, usd)
            except BudgetReached:
                if not costs.has_free:
                    raise
                money, tariff = self._budgets.nothing, Tariff.FREE
        if plan is None:
            return Reservation(None, money, tariff, sizes, prompt_usd)
        reserved = None
        try:
            reserved = await self._limits.reserve(plan, sum(sizes))
        finally:
            if reserved is None and money is not None:
                money.end()
        return Reservation(reserved, money, tariff, sizes, prompt_usd)

    def _plan(
        self, principal: Principal, peer: str, operation: str, asked: Asked
    ) -> Plan | None:
        limits, address, model, user = self._limits, "", None, None
        if principal.key is None and principal.user is None:
            address = self._group(peer)
        if limits.by_model:
            model = _id_of(self._resolved(operation, asked))
        if limits.by_user and principal.user is None:
            user = end_user(asked)
        return limits.plan_of(principal, address, model, user)

    def _resolved(self, operation: str, asked: Asked) -> Resolution:
        return asked.pinned or self._catalog().resolve(asked.model, ASKABLE[operation])

    def _costs(self, operation: str, asked: Asked, sizes: tuple[int, int]) -> Costs:
        resolution = self._resolved(operation, asked)
        return costs_of(resolution, self._catalog(), *sizes)

    def _terms(self, costs: Costs) -> tuple[float | None, Tariff]:
        """Answer what to set aside, None for what cannot be known, and whom it pays."""
        if not costs.has_unpriced:
            return costs.dearest_usd, Tariff.ANY
        if self._budgets.allow_unpriced:
            return costs.dearest_usd or None, Tariff.ANY
        if costs.dearest_usd:
            return costs.dearest_usd, Tariff.PRICED
        return (0.0, Tariff.FREE) if costs.has_free else (None, Tariff.ANY)


def _sizes(operation: str, asked: Asked) -> tuple[int, int]:
    """Answer the tokens to be expected of prompt and answer."""
    if operation == _COUNTING:
        return _NO_SIZE
    text_bytes, most_tokens = asked.needs().sizes()
    prompt = estimate_tokens(text_bytes, 0, writes=False)
    whole = estimate_tokens(text_bytes, most_tokens, writes=operation in _WRITING)
    return prompt, whole - prompt


def _used(record: Record, prompt_tokens: int) -> int | None:
    """Answer the tokens used; None where it was answered and nobody said how many.

    Who leaves before anybody has counted used the prompt, once somebody was asked.
    """
    if record.usage_source != "none":
        return (record.prompt_tokens or 0) + (record.completion_tokens or 0)
    if not record.attempts:
        return 0
    if record.status == _LEFT:
        return prompt_tokens
    return 0 if record.status >= 400 else None


def _id_of(resolution: Resolution) -> str:
    """Answer by which name a model is limited, whatever it was called."""
    first = next(iter(resolution.everyone or resolution.candidates), None)
    if first is None:
        return resolution.name
    return first.upstream_model if first.model is None else first.model.id
