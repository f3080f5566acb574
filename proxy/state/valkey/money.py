"""Money that several processes draw on: set aside and counted at the server.

Each process says what it has spent and set aside in all, never "so much more": what
was lost on the way is made good by saying it again, and a process that dies sets
nothing aside any longer. While the server is away each goes on within its share of
what was left as last known.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from proxy.core import clock
from proxy.state.books import Book, Books, over_daily, over_monthly
from proxy.state.calendar import month_of
from proxy.state.money import LIFETIME_S, Account, Draw, Lease, Spent, Sums, Unknown
from proxy.state.valkey.link import Command, News
from proxy.state.valkey.post import BEAT_S, Send
from proxy.state.valkey.scripts import BUY, LEARN, PAY
from proxy.state.valkey.slots import LEASE_BEATS
from proxy.state.valkey.standing import Standing

MOST_ASKED: Final = 500
"""Asked and told in one exchange; the others a moment later."""

MOST_WAITING: Final = 8192

_Answer = Lease | Spent | Unknown
_Asked = tuple[tuple[Draw, ...], int, asyncio.Future[_Answer]]


class _Said(NamedTuple):
    """What the server is known to have been told."""

    day: int
    of_day: int
    month: int
    of_month: int


_NOTHING: Final = _Said(-1, 0, -1, 0)


class _Others(Book):
    """What all others have spent and set aside, as last known.

    `at_loss` is how all stood when the server was lost, `mine` what was this process's
    of it then.
    """

    __slots__ = ("at_loss", "mine")

    def __init__(self) -> None:
        super().__init__()
        self.at_loss: tuple[int, Sums] | None = None
        self.mine = Sums(0, 0, 0)


class ValkeyMoney:
    """`process` is the name under which this one spends. `now` is None for the server's
    clock, which is followed here.
    """

    def __init__(
        self,
        process: str,
        standing: Standing,
        ring: Callable[[], None],
        now: Callable[[], float] | None = None,
        beat_s: float = BEAT_S,
        lifetime_s: float = LIFETIME_S,
    ) -> None:
        self._me: tuple[str, int] = (process, round(LEASE_BEATS * beat_s * 1000))
        self._standing = standing
        self._ring = ring
        self._now = now
        self._ahead_s = 0.0
        self._books = Books(self._time, lifetime_s)
        self._others: dict[Account, _Others] = {}
        self._said: dict[Account, _Said] = {}
        self._changed: dict[Account, None] = {}
        self._learned: dict[Account, tuple[int, int, int]] = {}
        self._asked: deque[_Asked] = deque()
        self._asking: list[_Asked] = []

    # -- MoneyCounts -------------------------------------------------------------------

    @property
    def aside(self) -> int:
        return self._books.aside

    @property
    def today(self) -> int:
        return self._books.today

    @property
    def accounts(self) -> tuple[Account, ...]:
        return self._books.accounts

    def try_reserve(self, draws: tuple[Draw, ...], amount: int) -> _Answer | None:
        if self._standing.is_away or len(self._asked) >= MOST_WAITING:
            return self._reserve_alone(draws, amount)
        if self._standing.is_settling:  # not all have said what they spent meanwhile
            return self._refusal(draws, amount)
        return None

    async def reserve(self, draws: tuple[Draw, ...], amount: int) -> _Answer:
        found = self.try_reserve(draws, amount)
        if found is not None:
            return found
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._asked.append((draws, amount, answer))
        self._ring()
        return await answer

    def settle(self, lease: Lease, cost: int) -> None:
        self._books.close(lease, cost)
        self._tell(lease.accounts)

    def learn(self, account: Account, day: int, of_day: int, of_month: int) -> None:
        book, others = self._both(account)
        if not others.is_known:
            others.is_known, others.at_loss = True, None
        if day == book.day:
            others.of_day = max(others.of_day, of_day - book.of_day)
        if month_of(day) == book.month:
            others.of_month = max(others.of_month, of_month - book.of_month)
        self._learned[account] = day, of_day, of_month
        self._ring()

    def sums(self, account: Account) -> Sums:
        book, others = self._both(account)
        return Sums(
            book.of_day + others.of_day,
            book.of_month + others.of_month,
            book.aside + others.aside,
        )

    # -- Part of a post ----------------------------------------------------------------

    def beat(self, send: Send) -> None:
        """Say again what is set aside, so that it stays so."""
        if not self._standing.is_away and not self._standing.is_settling:
            for others in self._others.values():
                others.at_loss = None
        self._changed.update(dict.fromkeys(self._books.end_leases()))
        for account in self._books.accounts:
            if self._books.book(account).aside:
                self._changed[account] = None

    def speak(self, send: Send) -> None:
        # First, so that who asks next finds what has been spent and given back.
        for account in tuple(self._changed)[:MOST_ASKED]:
            del self._changed[account]
            send(*self._payment(account))
        for account in tuple(self._learned)[:MOST_ASKED]:
            day, of_day, of_month = self._learned.pop(account)
            said = (*self._me, _spelled(account), day, month_of(day), of_day, of_month)
            send((LEARN, (), said), _no_answer)
        if self._changed or self._learned:
            self._ring()
            return  # before anybody asks
        for _ in range(min(len(self._asked), MOST_ASKED)):
            draws, amount, answer = asked = self._asked.popleft()
            if not answer.done():  # whoever asked is still there
                self._asking.append(asked)
                send(*self._question(draws, amount, answer))
        if self._asked:
            self._ring()

    def answered(self) -> None:
        self._asking.clear()

    def hear(self, news: News) -> None:
        """Money is no news."""

    def lose(self) -> None:
        """Say all again later; answer all who wait from what is known."""
        self._learned.clear()
        self._changed = dict.fromkeys(self._books.accounts)
        for account in self._changed:
            self._remember_loss(account)
        waiting = (*self._asking, *self._asked)
        self._asking.clear()
        self._asked.clear()
        for draws, amount, answer in waiting:
            if not answer.done():
                answer.set_result(self._reserve_alone(draws, amount))

    # -- asking ------------------------------------------------------------------------

    def _tell(self, accounts: tuple[Account, ...]) -> None:
        self._changed.update(dict.fromkeys(accounts))
        if not self._standing.is_away:
            self._ring()

    def _payment(self, account: Account) -> tuple[Command, Callable[[Any], None]]:
        book, _ = self._both(account)
        now = _Said(book.day, book.of_day, book.month, book.of_month)
        before = self._said.get(account, _NOTHING)
        of_day = before.of_day if before.day == now.day else 0
        of_month = before.of_month if before.month == now.month else 0
        said = (
            *self._me, _spelled(account), book.aside, now.day, now.month,
            now.of_day, of_day, now.of_month, of_month,
        )  # fmt: skip

        def heard(_: Any) -> None:
            self._said[account] = now

        return (PAY, (), said), heard

    def _question(
        self, draws: tuple[Draw, ...], amount: int, answer: asyncio.Future[_Answer]
    ) -> tuple[Command, Callable[[Any], None]]:
        said_now = "" if self._now is None else repr(self._now())
        asked: list[str | float] = [*self._me, said_now, amount]
        mine: list[tuple[int, int]] = []
        for account, daily, monthly in draws:
            book, _ = self._both(account)
            mine.append((book.of_day, book.of_month))
            asked += (
                _spelled(account),
                -1 if daily is None else daily,
                -1 if monthly is None else monthly,
            )

        def heard(reply: list[Any]) -> None:
            now, why = float(reply[0]), bytes(reply[1])
            if self._now is None:
                self._ahead_s = now - clock.wall()
            known = [int(word) for word in reply[3:]]
            unknown = self._take_over(draws, mine, known)
            found = self._found(draws, amount, why, int(reply[2]), unknown)
            if not answer.done():
                answer.set_result(found)
            elif isinstance(found, Lease):  # it has gone meanwhile and uses nothing
                self.settle(found, 0)

        return (BUY, (), tuple(asked)), heard

    def _take_over(
        self, draws: tuple[Draw, ...], mine: list[tuple[int, int]], reply: list[int]
    ) -> tuple[Account, ...]:
        """Keep what was answered of all; answer which accounts are not known."""
        unknown: list[Account] = []
        for n, draw in enumerate(draws):
            is_known, of_day, of_month, aside = reply[4 * n : 4 * n + 4]
            _, others = self._both(draw.account)
            if not is_known:
                unknown.append(draw.account)
                continue
            others.is_known = True
            others.of_day = max(0, of_day - mine[n][0])
            others.of_month = max(0, of_month - mine[n][1])
            others.aside = aside
        return tuple(unknown)

    def _found(
        self,
        draws: tuple[Draw, ...],
        amount: int,
        why: bytes,
        index: int,
        unknown: tuple[Account, ...],
    ) -> _Answer:
        match why:
            case b"unknown":
                return Unknown(unknown, self.today)
            case b"monthly":
                return over_monthly(draws[index], self._time())
            case b"daily":
                return over_daily(draws[index], self._time())
        return self._books.open(tuple(draw.account for draw in draws), amount)

    # -- alone -------------------------------------------------------------------------

    def _reserve_alone(self, draws: tuple[Draw, ...], amount: int) -> _Answer:
        self._tell(self._books.end_leases())
        accounts = tuple(draw.account for draw in draws)
        unknown = tuple(one for one in accounts if not self._both(one)[1].is_known)
        if unknown:
            return Unknown(unknown, self.today)
        for account in accounts:
            self._remember_loss(account)
        refusal = self._refusal(draws, amount)
        if refusal is not None:
            return refusal
        self._standing.alone["budgets"] += 1
        lease = self._books.open(accounts, amount)
        self._tell(accounts)
        return lease

    def _remember_loss(self, account: Account) -> None:
        """What is left is shared out by how it stood then, or as the day began."""
        book, others = self._both(account)
        if others.at_loss is None or others.at_loss[0] != book.day:
            others.at_loss = book.day, self.sums(account)
            others.mine = Sums(book.of_day, book.of_month, book.aside)

    def _refusal(self, draws: tuple[Draw, ...], amount: int) -> Spent | None:
        """Answer what is refused of the share in what was left; None too if it is not
        shared out.
        """
        for draw in draws:
            book, others = self._both(draw.account)
            if others.at_loss is None:
                continue
            _, then = others.at_loss
            now, mine, share = self.sums(draw.account), others.mine, self._share
            wanted = book.aside + amount - mine.aside
            more = book.of_month - mine.of_month + wanted
            left = (draw.monthly or 0) - then.of_month - then.aside
            over = (draw.monthly or 0) - now.of_month - now.aside
            if draw.monthly is not None and (more > share(left) or amount > over):
                return over_monthly(draw, self._time())
            more = book.of_day - mine.of_day + wanted
            left = (draw.daily or 0) - then.of_day - then.aside
            over = (draw.daily or 0) - now.of_day - now.aside
            if draw.daily is not None and (more > share(left) or amount > over):
                return over_daily(draw, self._time())
        return None

    def _share(self, left: int) -> int:
        return max(0, left) // self._standing.processes

    # -- counting ----------------------------------------------------------------------

    def _both(self, account: Account) -> tuple[Book, _Others]:
        book = self._books.book(account)
        others = self._others.get(account)
        if others is None:
            others = self._others[account] = _Others()
        others.turn(book.day, book.month)
        return book, others

    def _time(self) -> float:
        return clock.wall() + self._ahead_s if self._now is None else self._now()


def _spelled(account: Account) -> str:
    return f"{account.kind}:{account.name}"


def _no_answer(_: Any) -> None:
    """Nothing is told back."""
