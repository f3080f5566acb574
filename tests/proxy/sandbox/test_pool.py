from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from proxy.core.tasks import Tasks
from proxy.sandbox.pool import NotStarted, Pool
from proxy.sandbox.process import Died, Process


class FakeProcess:
    def __init__(self, number: int) -> None:
        self.number = number
        self.is_alive = True
        self.was_awaited = False

    def kill(self) -> None:
        self.is_alive = False

    async def ended(self) -> None:
        self.was_awaited = True


class Starter:
    def __init__(self) -> None:
        self.made: list[FakeProcess] = []
        self.failure: Exception | None = None
        self.may_start = asyncio.Event()
        self.may_start.set()

    async def __call__(self, number: int) -> Process:
        await self.may_start.wait()
        if self.failure is not None:
            raise self.failure
        self.made.append(FakeProcess(number))
        return cast("Process", self.made[-1])


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    faults: list[BaseException] = []
    async with Tasks(faults.append) as group:
        yield group
    assert faults == []


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def of(process: Any) -> FakeProcess:
    return cast("FakeProcess", process)


async def test_what_was_warmed_is_taken_first(tasks: Tasks) -> None:
    start = Starter()
    pool = Pool(start, 2, tasks)
    pool.warm(1)
    pool.warm(1)  # one is on its way already
    await settle()
    assert len(start.made) == 1
    assert of(await pool.take()) is start.made[0]
    assert of(await pool.take()) is start.made[1]
    assert [made.number for made in start.made] == [1, 2]


async def test_what_is_given_back_is_taken_again(tasks: Tasks) -> None:
    pool = Pool(Starter(), 1, tasks)
    process = await pool.take()
    pool.give_back(process)
    assert await pool.take() is process


async def test_no_more_are_kept_than_was_said(tasks: Tasks) -> None:
    start = Starter()
    pool = Pool(start, 1, tasks)
    first, second = await pool.take(), await pool.take()
    pool.give_back(first)
    pool.give_back(second)
    assert [made.is_alive for made in start.made] == [True, False]


async def test_a_dead_one_is_never_handed_out(tasks: Tasks) -> None:
    start = Starter()
    pool = Pool(start, 2, tasks)
    process = await pool.take()
    pool.give_back(process)
    of(process).is_alive = False
    assert await pool.take() is not process
    pool.give_back(process)
    assert await pool.take() is not process


@pytest.mark.parametrize("failure", [Died(1), OSError("no"), TimeoutError()])
async def test_a_start_that_fails_is_told(tasks: Tasks, failure: Exception) -> None:
    start = Starter()
    start.failure = failure
    pool = Pool(start, 2, tasks)
    with pytest.raises(NotStarted):
        await pool.take()
    pool.warm(1)  # told in the log
    await settle()
    start.failure = None
    pool.warm(1)
    await settle()
    assert len(start.made) == 1


async def test_closing_ends_all_of_them(tasks: Tasks) -> None:
    start = Starter()
    pool = Pool(start, 2, tasks)
    busy = await pool.take()
    pool.give_back(await pool.take())
    await pool.close()
    assert of(busy) in start.made
    assert all(not made.is_alive and made.was_awaited for made in start.made)


async def test_one_that_starts_while_closing_is_ended(tasks: Tasks) -> None:
    start = Starter()
    pool = Pool(start, 2, tasks)
    start.may_start.clear()
    pool.warm(1)
    await settle()
    closing = asyncio.create_task(pool.close())
    await settle()
    assert not closing.done()
    start.may_start.set()
    await closing
    assert [made.is_alive for made in start.made] == [False]
