"""Allowances that several processes draw on: charged at the server, on its clock.

While it is away each process grants its share of an allowance from a count of its own,
and what is settled then is settled there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from proxy.core import clock
from proxy.state import gcra
from proxy.state.base import Charge, Grant, Rate
from proxy.state.memory import ENTRIES, MemoryRates
from proxy.state.valkey.link import Command, News
from proxy.state.valkey.post import Send
from proxy.state.valkey.scripts import RATE, RESERVE, SETTLE
from proxy.state.valkey.standing import Standing

MOST_ASKED: Final = 500
"""Asked in one exchange; the others a moment later."""

MOST_WAITING: Final = 8192
MOST_UNSETTLED: Final = 8192
"""Settled later than that many others: what was reserved then stands."""

_Asked = tuple[tuple[Charge, ...], asyncio.Future[Grant]]


class OwnGrant(Grant, frozen=True, gc=False):
    """One that this process gave by itself."""


class ValkeyRates:
    """`now` is None for the server's clock, which is the one that hosts share."""

    def __init__(
        self,
        standing: Standing,
        ring: Callable[[], None],
        now: Callable[[], float] | None = None,
        entries: int = ENTRIES,
    ) -> None:
        self._standing = standing
        self._ring = ring
        self._now = now
        self._alone = MemoryRates(now or clock.monotonic, entries)
        self._asked: deque[_Asked] = deque()
        self._asking: list[_Asked] = []
        self._unsettled: deque[Command] = deque(maxlen=MOST_UNSETTLED)

    # -- RateCounters ------------------------------------------------------------------

    def try_reserve(self, charges: tuple[Charge, ...]) -> Grant | None:
        if not charges:
            return Grant((), ())
        if self._standing.is_away or len(self._asked) >= MOST_WAITING:
            return self._grant_alone(charges)
        return None

    async def reserve(self, charges: tuple[Charge, ...]) -> Grant:
        grant = self.try_reserve(charges)
        if grant is not None:
            return grant
        answer: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._asked.append((charges, answer))
        self._ring()
        return await answer

    def draw(self, key: str, span_s: float, period_s: float) -> float | None:
        """The server has to be asked, or this process grants its share."""
        return None

    def settle(self, grant: Grant, costs: tuple[float, ...]) -> None:
        if not grant.granted or not grant.charges:
            return
        if isinstance(grant, OwnGrant):
            self._alone.settle(grant, costs)
            return
        keys: list[str] = []
        said: list[str | float] = [self._said_now()]
        for charge, level, cost in zip(grant.charges, grant.levels, costs, strict=True):
            change = gcra.span_s(charge.rate, cost)
            change -= gcra.span_s(charge.rate, charge.cost)
            if change:
                keys.append(RATE + charge.key)
                said += (repr(level.until), repr(change))
        if keys and not self._standing.is_away:
            self._unsettled.append((SETTLE, tuple(keys), tuple(said)))
            self._ring()

    # -- Part of a post ------------------------------------------------------------------

    def beat(self, send: Send) -> None:
        """Nothing here has to be said again."""

    def speak(self, send: Send) -> None:
        # First, so that who asks next finds what has been given back.
        for _ in range(min(len(self._unsettled), MOST_ASKED)):
            send(self._unsettled.popleft(), _no_answer)
        for _ in range(min(len(self._asked), MOST_ASKED)):
            charges, answer = asked = self._asked.popleft()
            if not answer.done():  # whoever asked is still there
                self._asking.append(asked)
                send(self._question(charges), self._answer_to(charges, answer))
        if self._asked or self._unsettled:
            self._ring()

    def answered(self) -> None:
        self._asking.clear()

    def hear(self, news: News) -> None:
        """Rates are no news."""

    def lose(self) -> None:
        """Answer all who wait from the own count."""
        waiting = (*self._asking, *self._asked)
        self._asking.clear()
        self._asked.clear()
        self._unsettled.clear()
        for charges, answer in waiting:
            if not answer.done():
                answer.set_result(self._grant_alone(charges))

    # -- asking ----------------------------------------------------------------------------

    def _question(self, charges: tuple[Charge, ...]) -> Command:
        said: list[str | float] = [self._said_now()]
        for charge in charges:
            span_s = gcra.span_s(charge.rate, charge.cost)
            said += (repr(float(charge.rate.period_s)), repr(float(span_s)))
        return RESERVE, tuple(RATE + charge.key for charge in charges), tuple(said)

    def _answer_to(
        self, charges: tuple[Charge, ...], answer: asyncio.Future[Grant]
    ) -> Callable[[Any], None]:
        def heard(reply: list[bytes]) -> None:
            now, wait_s, *full_at = (float(word) for word in reply)
            levels = tuple(
                gcra.level(at, now, charge.rate)
                for at, charge in zip(full_at, charges, strict=True)
            )
            grant = Grant(charges, levels, wait_s)
            if not answer.done():
                answer.set_result(grant)
            else:  # it has gone in the meantime and uses nothing
                self.settle(grant, (0.0,) * len(charges))

        return heard

    def _said_now(self) -> str:
        return "" if self._now is None else repr(self._now())

    def _grant_alone(self, charges: tuple[Charge, ...]) -> Grant:
        processes = self._standing.processes
        shares = tuple(
            Charge(
                charge.key,
                Rate(charge.rate.amount / processes, charge.rate.period_s),
                charge.cost,
            )
            for charge in charges
        )
        grant = self._alone.try_reserve(shares)
        self._standing.alone["rates"] += grant.granted
        return OwnGrant(grant.charges, grant.levels, grant.retry_after_s)


def _no_answer(_: Any) -> None:
    """Nothing is told back."""
