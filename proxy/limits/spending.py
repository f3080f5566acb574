"""What accounts have spent and set aside, by day and month of UTC; in this process.

Amounts are whole nano-dollars, so that sums are exact. A lease is money set aside for
one request: it is settled by the real cost, or comes back by itself when its lifetime
is over. What was spent before this process began is read from what is stored, once
for an account; while that is out of reach the account counts from zero rather than
hold anybody up.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, Protocol

from proxy.core import clock

NANO: Final = 1_000_000_000
LIFETIME_S: Final = 3600.0
_DAY_S: Final = 86_400
_LOAD_TIMEOUT_S: Final = 1.0
_LOAD_AGAIN_S: Final = 10.0
_FOLLOW_S: Final = 5.0
_log: Final = logging.getLogger("local_ai.limits")

Kind = Literal["key", "tenant"]
Period = Literal["daily", "monthly"]


class Account(NamedTuple):
    """Whose money it is: a key's, by its id, or a tenant's."""

    kind: Kind
    name: str


class Draw(NamedTuple):
    """An account and what it may spend, in nano-dollars; None: without a bound."""

    account: Account
    daily: int | None
    monthly: int | None


@dataclass(frozen=True, slots=True)
class Lease:
    """Money set aside in several accounts at once."""

    id: int
    accounts: tuple[Account, ...]
    amount: int


@dataclass(frozen=True, slots=True)
class Spent:
    """The refusal: which account has nothing left, until when."""

    account: Account
    period: Period
    limit: int
    retry_after_s: float


class SpentBefore(Protocol):
    """Knows from storage what an account spent, in USD by day, `2026-11-21`."""

    async def spent_by_day(
        self, kind: Kind, name: str, since_day: str
    ) -> Mapping[str, float]: ...


class NothingSpent:
    """A SpentBefore where no records are kept."""

    async def spent_by_day(
        self, kind: Kind, name: str, since_day: str
    ) -> Mapping[str, float]:
        return {}


NOTHING_SPENT: Final = NothingSpent()


class BudgetCounters(Protocol):
    """Sets money aside before the work; settled when its cost is known."""

    @property
    def aside(self) -> int:
        """What this process has set aside, in nano-dollars."""
        ...

    def try_reserve(self, draws: tuple[Draw, ...], amount: int) -> Lease | Spent | None:
        """Set aside in all accounts or none; None where `reserve` must be awaited."""
        ...

    async def reserve(self, draws: tuple[Draw, ...], amount: int) -> Lease | Spent: ...

    def settle(self, lease: Lease, cost: int) -> None:
        """Replace what was set aside by what it did cost, once."""
        ...


class _Book:
    """One account: what was spent in the running day and month, what is set aside."""

    __slots__ = ("aside", "day", "is_loaded", "month", "of_day", "of_month")

    def __init__(self) -> None:
        self.day = 0
        self.month = 0
        self.of_day = 0
        self.of_month = 0
        self.aside = 0
        self.is_loaded = False


class MemoryBudgets:
    """BudgetCounters of one process. There are as many books as budgets."""

    def __init__(
        self,
        before: SpentBefore,
        now: Callable[[], float] = clock.wall,
        *,
        lifetime_s: float = LIFETIME_S,
    ) -> None:
        self._before = before
        self._now = now
        self._lifetime_s = lifetime_s
        self._books: dict[Account, _Book] = {}
        self._leases: OrderedDict[int, tuple[float, Lease]] = OrderedDict()
        self._ids = itertools.count(1)
        self._alone = asyncio.Lock()
        self._day, self._month = 0, 0
        self._failed_at = float("-inf")

    def try_reserve(self, draws: tuple[Draw, ...], amount: int) -> Lease | Spent | None:
        now = self._now()
        for draw in draws:
            if self._may_load(self._book(draw.account, now), now):
                return None
        return self._reserve(draws, amount, now)

    async def reserve(self, draws: tuple[Draw, ...], amount: int) -> Lease | Spent:
        for draw in draws:
            await self._load(draw.account)
        return self._reserve(draws, amount, self._now())

    def settle(self, lease: Lease, cost: int) -> None:
        is_open = self._leases.pop(lease.id, None) is not None
        now = self._now()
        for account in lease.accounts:
            book = self._book(account, now)
            if is_open:
                book.aside -= lease.amount
            book.of_day += cost
            book.of_month += cost

    async def follow(self) -> None:
        """Keep up with what other processes have spent, until cancelled."""
        while True:
            await clock.sleep(_FOLLOW_S)
            try:
                await self.refresh()
            except Exception as error:
                _log.warning("What others have spent is not known: %s", error)

    async def refresh(self) -> None:
        """Take over what is stored by now, where it is more than what is known here."""
        for account, book in tuple(self._books.items()):
            today = _date(self._now())
            if book.is_loaded:
                found = await self._before.spent_by_day(*account, f"{today[:7]}-01")
                if _date(self._now()) == today:
                    self._book(account, self._now())
                    day, month = _sums(found, today)
                    book.of_day = max(book.of_day, day)
                    book.of_month = max(book.of_month, month)

    @property
    def aside(self) -> int:
        return sum(lease.amount for _, lease in self._leases.values())

    def spent(self, account: Account) -> tuple[int, int, int]:
        """Answer what was spent in this day and month, and what is set aside."""
        book = self._book(account, self._now())
        return book.of_day, book.of_month, book.aside

    def _reserve(
        self, draws: tuple[Draw, ...], amount: int, now: float
    ) -> Lease | Spent:
        self._end_leases(now)
        for draw in draws:
            refusal = self._refusal(draw, amount, now)
            if refusal is not None:
                return refusal
        lease = Lease(next(self._ids), tuple(draw.account for draw in draws), amount)
        for account in lease.accounts:
            self._books[account].aside += amount
        self._leases[lease.id] = now + self._lifetime_s, lease
        return lease

    def _refusal(self, draw: Draw, amount: int, now: float) -> Spent | None:
        book = self._book(draw.account, now)
        wanted = book.aside + amount
        if draw.monthly is not None and book.of_month + wanted > draw.monthly:
            wait_s = _next_month_s(now)
            return Spent(draw.account, "monthly", draw.monthly, wait_s)
        if draw.daily is not None and book.of_day + wanted > draw.daily:
            return Spent(draw.account, "daily", draw.daily, _DAY_S - now % _DAY_S)
        return None

    def _end_leases(self, now: float) -> None:
        while self._leases:
            id_, (until, lease) = next(iter(self._leases.items()))
            if until > now:
                return
            del self._leases[id_]
            for account in lease.accounts:
                self._books[account].aside -= lease.amount

    def _book(self, account: Account, now: float) -> _Book:
        """The account's book, opened at the running day and month."""
        day = int(now // _DAY_S)
        if day > self._day:
            self._day, self._month = day, _month_of(now)
        book = self._books.get(account)
        if book is None:
            book = self._books[account] = _Book()
        # A clock that is set back does not make money come back.
        if self._day > book.day:
            book.day, book.of_day = self._day, 0
            if self._month > book.month:
                book.month, book.of_month = self._month, 0
        return book

    def _may_load(self, book: _Book, now: float) -> bool:
        return not book.is_loaded and now - self._failed_at >= _LOAD_AGAIN_S

    async def _load(self, account: Account) -> None:
        async with self._alone:
            book, now = self._book(account, self._now()), self._now()
            if not self._may_load(book, now):
                return
            today = _date(now)
            try:
                async with asyncio.timeout(_LOAD_TIMEOUT_S):
                    found = await self._before.spent_by_day(*account, f"{today[:7]}-01")
            except Exception as error:
                self._failed_at = now
                _log.warning("What %s %s has spent is not known yet: %s",
                             account.kind, account.name, error)  # fmt: skip
                return
            book.is_loaded = True
            # Midnight may have passed in between.
            then, (day, month) = _date(self._now()), _sums(found, today)
            if then == today:
                book.of_day += day
            if then[:7] == today[:7]:
                book.of_month += month


def _sums(found: Mapping[str, float], today: str) -> tuple[int, int]:
    """Answer what was spent today and in this month."""
    return to_nano(found.get(today, 0.0)), sum(to_nano(usd) for usd in found.values())


def to_nano(usd: float) -> int:
    return round(usd * NANO)


def _date(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def _month_of(now: float) -> int:
    at = datetime.fromtimestamp(now, UTC)
    return at.year * 12 + at.month - 1


def _next_month_s(now: float) -> float:
    year, month = divmod(_month_of(now) + 1, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC).timestamp() - now
