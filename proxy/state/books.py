"""What one process has spent and set aside, by account: a book opened at today."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from proxy.state.calendar import day_of, month_of, next_day_s, next_month_s
from proxy.state.money import LIFETIME_S, Account, Draw, Lease, Spent


class Book:
    """One account: what was spent in the running day and month, what is set aside."""

    __slots__ = ("aside", "day", "is_known", "month", "of_day", "of_month")

    def __init__(self) -> None:
        self.day = -1
        self.month = -1
        self.of_day = 0
        self.of_month = 0
        self.aside = 0
        self.is_known = False

    def turn(self, day: int, month: int) -> None:
        """Open it at a day; one that is earlier does not make money come back."""
        if day > self.day:
            self.day, self.of_day = day, 0
            if month > self.month:
                self.month, self.of_month = month, 0


class Books:
    """There are as many as accounts were drawn on; leases end after their lifetime."""

    def __init__(
        self, now: Callable[[], float], lifetime_s: float = LIFETIME_S
    ) -> None:
        self.now: Final = now
        self._lifetime_s = lifetime_s
        self._books: dict[Account, Book] = {}
        self._leases: OrderedDict[int, tuple[float, Lease]] = OrderedDict()
        self._ids = itertools.count(1)
        self._day, self._month = -1, -1

    def __len__(self) -> int:
        return len(self._books)

    @property
    def accounts(self) -> tuple[Account, ...]:
        return tuple(self._books)

    @property
    def aside(self) -> int:
        return sum(lease.amount for _, lease in self._leases.values())

    @property
    def today(self) -> int:
        day = day_of(self.now())
        if day > self._day:
            self._day, self._month = day, month_of(day)
        return self._day

    def book(self, account: Account) -> Book:
        """The account's book, opened at the running day and month."""
        day = self.today
        book = self._books.get(account)
        if book is None:
            book = self._books[account] = Book()
        book.turn(day, self._month)
        return book

    def open(self, accounts: tuple[Account, ...], amount: int) -> Lease:
        """Set money aside, whatever is left."""
        lease = Lease(next(self._ids), accounts, amount)
        for account in accounts:
            self.book(account).aside += amount
        self._leases[lease.id] = self.now() + self._lifetime_s, lease
        return lease

    def close(self, lease: Lease, cost: int) -> None:
        """Replace what was set aside; what came back before is still spent."""
        is_open = self._leases.pop(lease.id, None) is not None
        for account in lease.accounts:
            book = self.book(account)
            if is_open:
                book.aside -= lease.amount
            book.of_day += cost
            book.of_month += cost

    def end_leases(self) -> tuple[Account, ...]:
        """Take back what has been set aside for too long; answers whose it was."""
        now, ended = self.now(), list[Account]()
        while self._leases:
            id_, (until, lease) = next(iter(self._leases.items()))
            if until > now:
                break
            del self._leases[id_]
            for account in lease.accounts:
                self._books[account].aside -= lease.amount
            ended += lease.accounts
        return tuple(ended)


def over_daily(draw: Draw, now: float) -> Spent:
    return Spent(draw.account, "daily", draw.daily or 0, next_day_s(now))


def over_monthly(draw: Draw, now: float) -> Spent:
    return Spent(draw.account, "monthly", draw.monthly or 0, next_month_s(now))
