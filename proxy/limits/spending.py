"""Money of accounts, counted by the shared state from what is stored on.

Amounts are whole nano-dollars, so that sums are exact. What was spent before anybody
counted is read from what is stored, once for an account; while that is out of reach
the account counts from zero rather than hold anybody up, and what is stored is taken
over as soon as it can be read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from proxy.core import clock
from proxy.state.calendar import date_of
from proxy.state.money import (
    Account,
    Draw,
    Kind,
    Lease,
    MoneyCounts,
    Spent,
    Sums,
    Unknown,
)

NANO: Final = 1_000_000_000
_LOAD_TIMEOUT_S: Final = 1.0
_LOAD_AGAIN_S: Final = 10.0
_FOLLOW_S: Final = 5.0
# Nobody waits for it; but what is never answered must not be the last that is asked.
_REFRESH_TIMEOUT_S: Final = 5.0
_log: Final = logging.getLogger("local_ai.limits")


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


class Spending:
    """Sets money aside before the work; settled when its cost is known."""

    def __init__(
        self,
        money: MoneyCounts,
        before: SpentBefore,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._money = money
        self._before = before
        self._now = now
        self._alone = asyncio.Lock()
        self._loads: dict[Account, int] = {}
        self._failed_at = float("-inf")

    @property
    def aside(self) -> int:
        """What this process has set aside, in nano-dollars."""
        return self._money.aside

    def try_reserve(self, draws: tuple[Draw, ...], amount: int) -> Lease | Spent | None:
        """Set aside in all accounts or none; None where `reserve` must be awaited."""
        found = self._money.try_reserve(draws, amount)
        return None if isinstance(found, Unknown) else found

    async def reserve(self, draws: tuple[Draw, ...], amount: int) -> Lease | Spent:
        while True:
            seen = dict(self._loads)
            found = await self._money.reserve(draws, amount)
            if not isinstance(found, Unknown):
                return found
            for account in found.accounts:
                await self._load(account, found.day, seen.get(account, 0))

    def settle(self, lease: Lease, cost: int) -> None:
        """Replace what was set aside by what it did cost, once."""
        self._money.settle(lease, cost)

    async def follow(self) -> None:
        """Keep up with what is stored, until cancelled."""
        is_told = False
        while True:
            await clock.sleep(_FOLLOW_S)
            try:
                await self.refresh()
            except Exception as error:
                if not is_told:
                    _log.warning("What others have spent is not known: %s",
                                 _said(error))  # fmt: skip
                is_told = True
            else:
                if is_told:
                    _log.warning("What others have spent is known again.")
                is_told = False

    async def refresh(self) -> None:
        """Take over what is stored by now, where it is more than what is counted.

        Raises what storage raises, and TimeoutError.
        """
        for account in tuple(self._money.accounts):
            async with asyncio.timeout(_REFRESH_TIMEOUT_S):
                await self._take_over(account, self._money.today)

    def spent(self, account: Account) -> Sums:
        """Answer what was spent in this day and month, and what is set aside."""
        return self._money.sums(account)

    async def _load(self, account: Account, day: int, seen: int) -> None:
        """Read what an account spent, unless another has since `seen`."""
        async with self._alone:
            if self._loads.get(account, 0) != seen:
                return
            self._loads[account] = seen + 1
            if self._now() - self._failed_at < _LOAD_AGAIN_S:
                self._money.learn(account, day, 0, 0)
                return
            try:
                async with asyncio.timeout(_LOAD_TIMEOUT_S):
                    await self._take_over(account, day)
            except Exception as error:
                self._failed_at = self._now()
                self._money.learn(account, day, 0, 0)
                _log.warning("What %s %s has spent is not known yet: %s",
                             account.kind, account.name, _said(error))  # fmt: skip

    async def _take_over(self, account: Account, day: int) -> None:
        today = date_of(day).isoformat()
        found = await self._before.spent_by_day(*account, f"{today[:7]}-01")
        of_day, of_month = _sums(found, today)
        self._money.learn(account, day, of_day, of_month)


def _sums(found: Mapping[str, float], today: str) -> tuple[int, int]:
    """Answer what was spent today and in this month."""
    return to_nano(found.get(today, 0.0)), sum(to_nano(usd) for usd in found.values())


def to_nano(usd: float) -> int:
    return round(usd * NANO)


def shown_usd(nano: int) -> str:
    """Write an amount in full: `5.00 USD`, and `0.000012 USD` where it is as small."""
    whole, part = divmod(nano, NANO)
    return f"{whole}.{f'{part:09}'.rstrip('0').ljust(2, '0')} USD"


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
