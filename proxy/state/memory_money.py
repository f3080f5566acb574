"""Money of one process: every answer comes at once."""

from __future__ import annotations

from collections.abc import Callable

from proxy.core import clock
from proxy.state.books import Books, over_daily, over_monthly
from proxy.state.calendar import month_of
from proxy.state.money import LIFETIME_S, Account, Draw, Lease, Spent, Sums, Unknown


class MemoryMoney:
    """MoneyCounts within this process."""

    def __init__(
        self,
        now: Callable[[], float] = clock.wall,
        *,
        lifetime_s: float = LIFETIME_S,
    ) -> None:
        self._books = Books(now, lifetime_s)

    @property
    def aside(self) -> int:
        return self._books.aside

    @property
    def today(self) -> int:
        return self._books.today

    @property
    def accounts(self) -> tuple[Account, ...]:
        return self._books.accounts

    def try_reserve(
        self, draws: tuple[Draw, ...], amount: int
    ) -> Lease | Spent | Unknown:
        books = self._books
        books.end_leases()
        accounts = tuple(draw.account for draw in draws)
        unknown = tuple(one for one in accounts if not books.book(one).is_known)
        if unknown:
            return Unknown(unknown, books.today)
        for draw in draws:
            refusal = self._refusal(draw, amount)
            if refusal is not None:
                return refusal
        return books.open(accounts, amount)

    async def reserve(
        self, draws: tuple[Draw, ...], amount: int
    ) -> Lease | Spent | Unknown:
        return self.try_reserve(draws, amount)

    def settle(self, lease: Lease, cost: int) -> None:
        self._books.close(lease, cost)

    def learn(self, account: Account, day: int, of_day: int, of_month: int) -> None:
        book = self._books.book(account)
        book.is_known = True
        if day == book.day:
            book.of_day = max(book.of_day, of_day)
        if month_of(day) == book.month:
            book.of_month = max(book.of_month, of_month)

    def sums(self, account: Account) -> Sums:
        book = self._books.book(account)
        return Sums(book.of_day, book.of_month, book.aside)

    def __len__(self) -> int:
        return len(self._books)

    def _refusal(self, draw: Draw, amount: int) -> Spent | None:
        book = self._books.book(draw.account)
        wanted = book.aside + amount
        if draw.monthly is not None and book.of_month + wanted > draw.monthly:
            return over_monthly(draw, self._books.now())
        if draw.daily is not None and book.of_day + wanted > draw.daily:
            return over_daily(draw, self._books.now())
        return None
