from __future__ import annotations

import asyncio

from proxy.core.tasks import Tasks, create


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


async def test_a_created_task_is_its_callers() -> None:
    task = create(succeed())
    await task
    assert task.done()
