"""The part of the state that counts money: what accounts spent, and have set aside.

Amounts are whole numbers, so that sums are exact; days and months are UTC's, on the
clock of whoever counts. A lease is set aside for one request: it is settled by the
real cost, or comes back by itself, when its lifetime is over or its process dies.
What was spent before anybody counted is kept elsewhere, and has to be told: `learn`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, Protocol

from msgspec import Struct

LIFETIME_S: Final = 3600.0

Kind = Literal["key", "tenant"]
Period = Literal["daily", "monthly"]


class Account(NamedTuple):
    """Whose money it is: a key's, by its id, or a tenant's."""

    kind: Kind
    name: str


class Draw(NamedTuple):
    """An account and what it may spend; None: without a bound."""

    account: Account
    daily: int | None
    monthly: int | None


class Sums(NamedTuple):
    """What was spent in the running day and month, and what is set aside."""

    of_day: int
    of_month: int
    aside: int


class Lease(Struct, frozen=True):
    """Money set aside in several accounts at once."""

    id: int
    accounts: tuple[Account, ...]
    amount: int


class Spent(Struct, frozen=True):
    """The refusal: which account has too little left, until when."""

    account: Account
    period: Period
    limit: int
    retry_after_s: float


class Unknown(Struct, frozen=True):
    """Nothing was taken: nobody has told yet what these spent in the month of `day`."""

    accounts: tuple[Account, ...]
    day: int


class MoneyCounts(Protocol):
    """Sets money aside before the work; settled when its cost is known."""

    @property
    def aside(self) -> int:
        """What this process has set aside."""
        ...

    @property
    def today(self) -> int:
        """The running day of UTC, as days since 1970."""
        ...

    @property
    def accounts(self) -> Iterable[Account]:
        """Those that this process has drawn on."""
        ...

    def try_reserve(
        self, draws: tuple[Draw, ...], amount: int
    ) -> Lease | Spent | Unknown | None:
        """Set aside in all accounts or none; None where `reserve` must be awaited."""
        ...

    async def reserve(
        self, draws: tuple[Draw, ...], amount: int
    ) -> Lease | Spent | Unknown: ...

    def settle(self, lease: Lease, cost: int) -> None:
        """Replace what was set aside by what it did cost, once."""
        ...

    def learn(self, account: Account, day: int, of_day: int, of_month: int) -> None:
        """Take over that so much, or more, was spent on a day and up to it in its month.

        What is of another day or month than the running one is left aside.
        """
        ...

    def sums(self, account: Account) -> Sums:
        """Answer how an account stands, as far as known here."""
        ...
