from __future__ import annotations

import asyncio

import pytest

from proxy.core.tasks import Tasks, beside, launch


async def forever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise RuntimeError("a defect")


async def succeed() -> None:
    pass


# -- groups ---------------------------------------------------------------------------


async def test_a_group_ends_its_tasks_with_its_block() -> None:
    faults: list[BaseException] = []
    async with Tasks(faults.append) as tasks:
        task = tasks.start(forever(), "forever")
        assert task.get_name() == "forever"
        await asyncio.sleep(0)
        assert len(tasks) == 1
    assert task.cancelled()
    assert len(tasks) == 0
    assert not faults, "to be ended is no fault"


async def test_a_group_waits_for_what_its_tasks_clean_up() -> None:
    cleaned: list[str] = []

    async def slow_to_end() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    async with Tasks(lambda _: None) as tasks:
        tasks.start(slow_to_end(), "slow")
        await asyncio.sleep(0)
    assert cleaned == ["up"]


async def test_what_a_task_raises_is_reported_at_once_and_it_is_forgotten() -> None:
    faults: list[BaseException] = []
    async with Tasks(faults.append) as tasks:
        tasks.start(fail(), "fails")
        tasks.start(succeed(), "succeeds")
        for _ in range(3):
            await asyncio.sleep(0)
        assert [str(fault) for fault in faults] == ["a defect"]
        assert len(tasks) == 0


async def test_a_task_that_fails_while_it_is_ended_is_reported_too() -> None:
    faults: list[BaseException] = []

    async def fail_at_the_end() -> None:
        try:
            await forever()
        finally:
            raise RuntimeError("at the end")

    async with Tasks(faults.append) as tasks:
        tasks.start(fail_at_the_end(), "fails")
        await asyncio.sleep(0)
    assert [str(fault) for fault in faults] == ["at the end"]


# -- the task of one call ---------------------------------------------------------------


async def test_a_launched_task_tells_its_owner_when_it_has_ended() -> None:
    ended: list[asyncio.Task[None]] = []
    task = launch(succeed(), ended.append)
    await task
    await asyncio.sleep(0)
    assert ended == [task]


# -- beside -----------------------------------------------------------------------------


async def test_the_futures_result_ends_the_work_beside_it() -> None:
    ended: list[bool] = []

    async def work() -> None:
        try:
            await forever()
        finally:
            ended.append(True)

    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(beside(future, work()))
    await asyncio.sleep(0)
    future.set_result(7)
    assert await waiting == 7
    assert ended == [True]


async def test_work_that_is_ready_first_leaves_the_future_to_come() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(beside(future, succeed()))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    future.set_result(7)
    assert await waiting == 7


async def test_what_the_work_raises_is_raised() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    with pytest.raises(RuntimeError, match="a defect"):
        await beside(future, fail())
    assert not future.done()


async def test_what_the_future_raises_is_raised_and_ends_the_work() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(beside(future, forever()))
    await asyncio.sleep(0)
    future.set_exception(RuntimeError("no reply"))
    with pytest.raises(RuntimeError, match="no reply"):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_future_counts_when_both_fail_at_once() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_exception(RuntimeError("no reply"))
    with pytest.raises(RuntimeError, match="no reply"):
        await beside(future, fail())


async def test_cancelled_it_ends_the_work() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(beside(future, forever()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelled_after_the_work_it_no_longer_waits() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(beside(future, succeed()))
    for _ in range(5):
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
