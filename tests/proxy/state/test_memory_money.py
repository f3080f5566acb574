"""What only money in memory does; the rest is in tests/contract/state/test_money.py."""

from __future__ import annotations

from proxy.state.memory_money import MemoryMoney
from proxy.state.money import Account, Draw, Lease, Unknown
from tests.fakes.hand_clock import HandClock

KEY = Account("key", "k1")
DRAWS = (Draw(KEY, 100, None),)


async def test_every_answer_comes_at_once() -> None:
    money = MemoryMoney(HandClock())
    assert money.try_reserve(DRAWS, 1) == Unknown((KEY,), 0)
    money.learn(KEY, 0, 0, 0)
    assert isinstance(money.try_reserve(DRAWS, 60), Lease)
    assert isinstance(await money.reserve(DRAWS, 40), Lease)


def test_there_is_a_book_for_each_account_that_was_drawn_on() -> None:
    money = MemoryMoney(HandClock())
    assert len(money) == 0
    money.try_reserve(DRAWS, 1)
    assert (len(money), money.accounts) == (1, (KEY,))
