from __future__ import annotations

import asyncio

from proxy.state.money import Account, Draw, Lease, Spent, Unknown
from proxy.state.valkey.state import ValkeyState
from tests.parts.until import until
from tests.parts.valkey import Valkey
from tests.proxy.state.valkey.conftest import Join

KEY = Account("key", "k1")
DRAWS = (Draw(KEY, 100, 100), Draw(Account("tenant", "t"), None, 1000))


async def reserve(state: ValkeyState, amount: int) -> Lease | Spent:
    while True:
        found = await state.money.reserve(DRAWS, amount)
        if not isinstance(found, Unknown):
            return found
        for account in found.accounts:
            state.money.learn(account, found.day, 0, 0)


async def lease(state: ValkeyState, amount: int) -> Lease:
    found = await reserve(state, amount)
    assert isinstance(found, Lease)
    return found


async def granted(state: ValkeyState, amount: int, times: int) -> int:
    found = await asyncio.gather(*(reserve(state, amount) for _ in range(times)))
    return sum(isinstance(one, Lease) for one in found)


async def test_processes_draw_on_one_budget(join: Join) -> None:
    one, other = await join(), await join()
    counts = await asyncio.gather(granted(one, 3, 30), granted(other, 3, 30))
    assert sum(counts) == 33
    assert one.money.aside + other.money.aside == 99
    assert one.alone["budgets"] == 0


async def test_what_one_spends_and_gives_back_the_other_knows(join: Join) -> None:
    one, other = await join(), await join()
    held = await lease(one, 100)
    assert isinstance(await reserve(other, 1), Spent)
    one.money.settle(held, 40)
    await reserve(one, 0)  # what is told goes before what is asked
    await lease(other, 60)
    assert isinstance(await reserve(one, 1), Spent)
    assert one.money.sums(KEY) == (40, 40, 60)


async def test_one_that_dies_gives_back_what_it_set_aside_and_not_what_it_spent(
    join: Join,
) -> None:
    one, other = await join(beat_s=0.1), await join(beat_s=0.1)
    one.money.settle(await lease(one, 30), 30)
    await lease(one, 70)
    assert isinstance(await reserve(other, 1), Spent)
    task = one._post._task
    assert task is not None
    task.cancel()
    for _ in range(500):
        if isinstance(await reserve(other, 70), Lease):
            break
        await asyncio.sleep(0.01)
    assert other.money.sums(KEY) == (30, 30, 70)
    assert isinstance(await reserve(other, 1), Spent)


async def test_one_who_left_before_the_answer_has_spent_nothing(join: Join) -> None:
    state = await join(beat_s=60)
    await lease(state, 0)
    asking = asyncio.create_task(state.money.reserve(DRAWS, 100))
    for _ in range(100):
        if state.money._asking:
            break
        await asyncio.sleep(0)
    assert state.money._asking
    asking.cancel()
    for _ in range(500):
        if isinstance(await reserve(state, 100), Lease):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it was not given back")


async def test_alone_each_spends_its_share_of_what_was_left(
    join: Join, server: Valkey
) -> None:
    one = await join(server.url, beat_s=0.2)
    other = await join(server.url, beat_s=0.2)
    both = (one, other)
    await until(
        lambda: all(each._standing.processes == 2 for each in both), "they have met"
    )
    one.money.settle(await lease(one, 10), 10)
    await lease(one, 10)
    await lease(other, 20)
    await reserve(one, 0)
    server.stop()
    await until(lambda: one.is_away and other.is_away, "the loss is noticed")
    # 60 are left of 100, for two.
    assert await granted(one, 5, 20) == 6
    assert await granted(other, 5, 20) == 6
    assert one.alone["budgets"] == 6
    assert one.money.aside == 40


async def test_a_server_that_comes_back_empty_is_told_again(
    join: Join, server: Valkey
) -> None:
    one = await join(server.url, beat_s=0.2)
    other = await join(server.url, beat_s=0.2)
    one.money.settle(await lease(one, 30), 30)
    other.money.settle(await lease(other, 40), 40)
    held = await lease(one, 10)
    await reserve(other, 0)
    server.stop()
    await until(lambda: one.is_away and other.is_away, "the loss is noticed")
    one.money.settle(held, 15)
    server.start()
    await until(lambda: not one.is_away and not other.is_away, "it is found")
    await until(lambda: not one._standing.is_settling, "all have spoken")
    assert isinstance(await reserve(other, 16), Spent)
    await lease(other, 15)
    assert other.money.sums(KEY)[:2] == (85, 85)


async def test_what_storage_tells_after_a_loss_is_not_counted_twice(
    join: Join, server: Valkey
) -> None:
    one = await join(server.url, beat_s=0.2)
    one.money.settle(await lease(one, 30), 30)
    await reserve(one, 0)
    server.empty()
    await until(lambda: one._standing.losses == 1, "its scripts are gone")
    await until(lambda: not one.is_away, "it is back")
    while isinstance(found := await one.money.reserve(DRAWS, 1), Unknown):
        for account in found.accounts:
            one.money.learn(account, found.day, 50, 50)
    one.money.settle(await lease(one, 5), 5)
    await reserve(one, 0)
    assert one.money.sums(KEY)[:2] == (55, 55)
