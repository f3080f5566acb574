from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from proxy.core.errors import GatewayFault
from proxy.sandbox.queue import Queue


def queue(
    slots: int = 1, waiting: int = 2, size: int = 100, patience_s: float = 30
) -> Queue:
    return Queue(slots, waiting, size, patience_s)


async def hold(
    line: Queue, size: int, order: list[int], name: int, holder: str = ""
) -> None:
    async with line.slot(size, holder):
        order.append(name)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_first_come_first_served() -> None:
    line, order = queue(waiting=50), list[int]()
    async with line.slot(1):
        waiting = [asyncio.create_task(hold(line, 1, order, n)) for n in range(20)]
        await settle()
        assert (line.waiting, line.waiting_bytes, line.running) == (20, 20, 1)
        assert order == []
    await asyncio.gather(*waiting)
    assert order == list(range(20))
    assert (line.waiting, line.waiting_bytes, line.running) == (0, 0, 0)


async def test_callers_take_turns_whoever_has_more_waiting() -> None:
    line, order = queue(waiting=50), list[int]()
    async with line.slot(1, "many"):
        waiting = [
            asyncio.create_task(hold(line, 1, order, n, "many")) for n in range(10)
        ]
        await settle()
        waiting.append(asyncio.create_task(hold(line, 1, order, 99, "one")))
        await settle()
    await asyncio.gather(*waiting)
    assert order.index(99) <= 1
    assert [n for n in order if n != 99] == list(range(10))


async def test_one_that_leaves_with_its_turn_in_hand_hands_it_on() -> None:
    line, order = queue(), list[int]()
    async with line.slot(1):
        first = asyncio.create_task(hold(line, 1, order, 1))
        second = asyncio.create_task(hold(line, 1, order, 2))
        await settle()
    first.cancel()  # its turn has been given and not been taken up
    await asyncio.gather(first, second, return_exceptions=True)
    assert order == [2]
    assert (line.waiting, line.waiting_bytes, line.running) == (0, 0, 0)
    await hold(line, 1, order, 3)
    assert order == [2, 3]


async def test_nobody_overtakes_who_waits() -> None:
    line, order = queue(), list[int]()
    async with line.slot(1):
        first = asyncio.create_task(hold(line, 1, order, 1))
        await settle()
    await asyncio.gather(first, hold(line, 1, order, 2))
    assert order == [1, 2]


async def test_more_than_may_wait_are_refused_with_a_time_to_come_again() -> None:
    line, order = queue(waiting=1), list[int]()
    async with line.slot(1):
        waits = asyncio.create_task(hold(line, 1, order, 1))
        await settle()
        with pytest.raises(GatewayFault) as caught:
            await hold(line, 1, order, 2)
        assert (caught.value.code, caught.value.status) == ("queue_full", 429)
        assert caught.value.retry_after_s
    await waits
    assert order == [1]


async def test_what_waits_is_bounded_in_bytes_too() -> None:
    line = queue(waiting=50, size=100)
    async with line.slot(1000):  # nobody waits for a slot that is free
        waits = asyncio.create_task(hold(line, 60, [], 1))
        await settle()
        with pytest.raises(GatewayFault):
            await hold(line, 41, [], 2)
        second = asyncio.create_task(hold(line, 40, [], 3))
        await settle()
        assert line.waiting_bytes == 100
    await asyncio.gather(waits, second)


async def test_patience_ends() -> None:
    line = queue(patience_s=0.001)
    async with line.slot(1):
        with pytest.raises(GatewayFault) as caught:
            await hold(line, 1, [], 1)
        assert caught.value.code == "queue_full"
        assert line.waiting == 0


async def test_who_leaves_the_queue_takes_no_slot_along() -> None:
    line, order = queue(), list[int]()
    async with AsyncExitStack() as held:
        await held.enter_async_context(line.slot(1))
        leaves = asyncio.create_task(hold(line, 1, order, 1))
        stays = asyncio.create_task(hold(line, 1, order, 2))
        await settle()
        leaves.cancel()
        await settle()
    await stays
    async with line.slot(1):
        assert order == [2]
        assert line.running == 1
