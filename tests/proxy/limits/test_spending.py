from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from proxy.limits.spending import NANO, Spending, shown_usd, to_nano
from proxy.state.memory_money import MemoryMoney
from proxy.state.money import Account, Draw, Lease, Spent
from tests.fakes.fetch import Clock
from tests.parts.until import until
from tests.proxy.limits.conftest import FakeBefore

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
ACCOUNT = Account("key", "k1")
DRAWS = (Draw(ACCOUNT, 1 * NANO, 3 * NANO),)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def before() -> FakeBefore:
    return FakeBefore()


@pytest.fixture
def counters(before: FakeBefore, clock: Clock) -> Spending:
    return Spending(MemoryMoney(clock, lifetime_s=100.0), before, clock)


async def test_what_was_spent_before_is_asked_for_once(
    counters: Spending, before: FakeBefore
) -> None:
    before.days["key", "k1"] = {"2026-11-02": 1.5, "2026-11-21": 0.75}
    assert counters.try_reserve(DRAWS, 1) is None
    lease = await counters.reserve(DRAWS, NANO // 4)
    assert isinstance(lease, Lease)
    assert counters.spent(ACCOUNT) == (3 * NANO // 4, 9 * NANO // 4, NANO // 4)
    assert isinstance(counters.try_reserve(DRAWS, 1), Spent)
    assert before.asked == [("key", "k1", "2026-11-01")]


async def test_many_that_ask_at_once_read_what_was_spent_once(
    counters: Spending, before: FakeBefore
) -> None:
    before.days["key", "k1"] = {"2026-11-21": 0.5}
    found = await asyncio.gather(
        *(counters.reserve(DRAWS, NANO // 4) for _ in range(10))
    )
    assert sum(isinstance(one, Lease) for one in found) == 2
    assert len(before.asked) == 1


async def test_storage_out_of_reach_delays_nobody_for_long(
    counters: Spending, before: FakeBefore, clock: Clock
) -> None:
    before.failure = ConnectionError("away")
    others = tuple(Draw(Account("key", f"k{n}"), NANO, None) for n in range(2, 50))
    for draw in (*DRAWS, *others):
        assert isinstance(await counters.reserve((draw,), NANO // 2), Lease)
    assert len(before.asked) == 1
    assert isinstance(counters.try_reserve(DRAWS, NANO // 2), Lease)
    before.failure = None
    before.days["key", "k1"] = {"2026-11-21": 0.5}
    await counters.refresh()
    assert isinstance(counters.try_reserve(DRAWS, 1), Spent)
    assert counters.spent(ACCOUNT)[0] == NANO // 2
    clock.at += 10
    await counters.reserve((Draw(Account("key", "k50"), NANO, None),), 1)
    assert before.asked[-1][1] == "k50", "later it is tried again"


async def test_storage_that_never_answers_is_not_waited_for(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent:
        async def spent_by_day(self, *_: str) -> Mapping[str, float]:
            await asyncio.Event().wait()
            return {}

    monkeypatch.setattr("proxy.limits.spending._LOAD_TIMEOUT_S", 0.01)
    counters = Spending(MemoryMoney(clock), Silent(), clock)
    assert isinstance(await counters.reserve(DRAWS, 1), Lease)


async def test_following_survives_storage_that_does_not_answer_once(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class SilentOnce:
        asked = 0

        async def spent_by_day(self, *_: str) -> Mapping[str, float]:
            self.asked += 1
            if self.asked in (2, 3):
                await asyncio.Event().wait()
            return {"2026-11-21": 0.25 * self.asked}

    monkeypatch.setattr("proxy.limits.spending._FOLLOW_S", 0.0)
    monkeypatch.setattr("proxy.limits.spending._REFRESH_TIMEOUT_S", 0.01)
    counters = Spending(MemoryMoney(clock), SilentOnce(), clock)
    await counters.reserve(DRAWS, 1)
    following = asyncio.ensure_future(counters.follow())
    await until(
        lambda: counters.spent(ACCOUNT)[0] >= NANO, "it asks again", timeout_s=5
    )
    following.cancel()
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "What others have spent is not known: TimeoutError",
        "What others have spent is known again.",
    ], "each once"


async def test_what_was_read_before_midnight_is_not_of_the_new_day(
    clock: Clock,
) -> None:
    class Slow:
        async def spent_by_day(self, *_: str) -> Mapping[str, float]:
            clock.at += 12 * 3600
            return {"2026-11-21": 0.75}

    counters = Spending(MemoryMoney(clock), Slow(), clock)
    await counters.reserve(DRAWS, 1)
    assert counters.spent(ACCOUNT)[:2] == (0, 3 * NANO // 4)


async def test_what_others_have_spent_is_taken_over(
    counters: Spending, before: FakeBefore, clock: Clock
) -> None:
    lease = await counters.reserve(DRAWS, NANO // 4)
    assert isinstance(lease, Lease)
    counters.settle(lease, NANO // 4)
    # Not all of our own is stored yet, and some that is another's.
    before.days["key", "k1"] = {"2026-11-20": 0.5, "2026-11-21": 0.125}
    await counters.refresh()
    assert counters.spent(ACCOUNT)[:2] == (NANO // 4, 5 * NANO // 8)
    before.days["key", "k1"] = {"2026-11-21": 1.0}
    await counters.refresh()
    assert counters.spent(ACCOUNT)[:2] == (NANO, NANO)
    assert isinstance(counters.try_reserve(DRAWS, 1), Spent)
    clock.at += 86_400
    before.days["key", "k1"] = {"2026-11-21": 1.0}
    await counters.refresh()
    assert counters.spent(ACCOUNT)[:2] == (0, NANO)


async def test_it_goes_on_following_while_storage_is_away(
    counters: Spending, before: FakeBefore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.limits.spending._FOLLOW_S", 0.0)
    await counters.reserve(DRAWS, 1)
    before.failure = ConnectionError("away")
    following = asyncio.ensure_future(counters.follow())
    await until(lambda: len(before.asked) > 2, "it asks again and again")
    before.failure = None
    before.days["key", "k1"] = {"2026-11-21": 0.5}
    await until(lambda: counters.spent(ACCOUNT)[0] > 0, "it is told at last")
    following.cancel()


async def test_a_lease_that_nobody_settles_comes_back(
    counters: Spending, clock: Clock
) -> None:
    lost = await counters.reserve(DRAWS, NANO)
    assert isinstance(counters.try_reserve(DRAWS, 1), Spent)
    clock.at += 99.9
    assert isinstance(counters.try_reserve(DRAWS, 1), Spent)
    clock.at += 0.1
    later = counters.try_reserve(DRAWS, NANO // 2)
    assert isinstance(later, Lease)
    assert isinstance(lost, Lease)
    counters.settle(lost, NANO // 4)
    assert counters.spent(ACCOUNT) == (NANO // 4, NANO // 4, NANO // 2)


async def test_money_set_aside_before_midnight_still_is_after_it(
    counters: Spending, clock: Clock
) -> None:
    clock.at += 12 * 3600 - 10
    lease = await counters.reserve(DRAWS, NANO)
    clock.at += 20
    assert isinstance(counters.try_reserve(DRAWS, 1), Spent)
    assert isinstance(lease, Lease)
    counters.settle(lease, NANO // 2)
    assert counters.spent(ACCOUNT) == (NANO // 2, NANO // 2, 0)


async def test_a_clock_that_is_set_back_gives_no_money_back(
    counters: Spending, clock: Clock
) -> None:
    lease = await counters.reserve(DRAWS, NANO)
    assert isinstance(lease, Lease)
    counters.settle(lease, NANO)
    clock.at -= 40 * 86_400
    assert isinstance(counters.try_reserve(DRAWS, 1), Spent)


async def test_a_year_ends_too(counters: Spending, clock: Clock) -> None:
    clock.at = datetime(2026, 12, 31, 23, tzinfo=UTC).timestamp()
    draws = (Draw(ACCOUNT, None, NANO),)
    lease = await counters.reserve(draws, NANO)
    assert isinstance(lease, Lease)
    counters.settle(lease, NANO)
    refusal = counters.try_reserve(draws, 1)
    assert isinstance(refusal, Spent)
    assert refusal.retry_after_s == pytest.approx(3600)
    clock.at += refusal.retry_after_s
    assert isinstance(counters.try_reserve(draws, NANO), Lease)


def test_sums_of_small_costs_are_exact() -> None:
    assert sum(to_nano(0.1) for _ in range(10)) == NANO


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (5 * NANO, "5.00 USD"),
        (12_000, "0.000012 USD"),
        (1, "0.000000001 USD"),
        (2_500_000_000, "2.50 USD"),
        (12_345 * NANO + 125_000_000, "12345.125 USD"),
        (0, "0.00 USD"),
    ],
)
def test_money_is_written_in_full_however_little(nano: int, text: str) -> None:
    assert shown_usd(nano) == text
