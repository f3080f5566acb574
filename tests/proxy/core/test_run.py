from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from proxy.core.run import Run, Signal, in_task


class Told:
    """Runs work and remembers how it ended."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self.ended: list[BaseException | None] = []
        self.run = Run(lambda run: self.ended.append(run.fault))
        self.run.begin(work)


def outside_tasks(tell: asyncio.Future[Told], work: Coroutine[Any, Any, None]) -> None:
    tell.set_result(Told(work))


async def begin(work: Coroutine[Any, Any, None]) -> Told:
    """Begin as a connection does: called by the loop, within no task."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[Told] = loop.create_future()
    loop.call_soon(outside_tasks, told, work)
    return await told


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# -- without a task -----------------------------------------------------------------------


async def test_what_waits_for_nothing_has_ended_when_begin_returns() -> None:
    async def work() -> None:
        pass

    told = Told(work())
    assert told.ended == [None]


async def test_what_it_raises_is_handed_on() -> None:
    async def work() -> None:
        raise RuntimeError("a defect")

    (fault,) = Told(work()).ended
    assert isinstance(fault, RuntimeError)


async def test_it_goes_on_in_the_moment_its_signal_is_given() -> None:
    signal, seen = Signal(), []

    async def work() -> None:
        await signal
        seen.append(asyncio.current_task())

    told = await begin(work())
    assert told.ended == []
    asyncio.get_running_loop().call_soon(signal.give)
    await turns(1)
    assert seen == [None], "no task ran it"
    assert told.ended == [None]


async def test_a_signal_given_before_makes_nobody_wait() -> None:
    signal = Signal()
    signal.give()

    async def work() -> None:
        await signal

    assert Told(work()).ended == [None]


async def test_a_signals_error_is_raised_where_it_is_awaited() -> None:
    signal = Signal()

    async def work() -> None:
        with pytest.raises(RuntimeError, match="broken"):
            await signal

    told = Told(work())
    signal.give(RuntimeError("broken"))
    assert told.ended == [None]


async def test_only_the_first_word_counts() -> None:
    signal = Signal()
    signal.give()
    signal.give(RuntimeError("too late"))
    await signal
    assert signal.done()


async def test_it_is_cancelled_in_the_next_turn() -> None:
    cleaned = []

    async def work() -> None:
        try:
            await Signal()
        finally:
            cleaned.append("up")

    told = Told(work())
    told.run.cancel()
    assert cleaned == []
    await turns()
    assert cleaned == ["up"]
    assert [type(fault) for fault in told.ended] == [asyncio.CancelledError]


async def test_one_that_ends_before_its_cancellation_has_ended_well() -> None:
    signal = Signal()

    async def work() -> None:
        await signal

    told = Told(work())
    told.run.cancel()
    signal.give()
    await turns()
    assert told.ended == [None]


async def test_one_that_goes_on_before_its_cancellation_is_cancelled_further_on() -> (
    None
):
    first, second = Signal(), Signal()

    async def work() -> None:
        await first
        await second

    told = Told(work())
    told.run.cancel()
    first.give()
    await turns()
    assert [type(fault) for fault in told.ended] == [asyncio.CancelledError]


async def test_one_that_has_ended_cannot_be_cancelled() -> None:
    async def work() -> None:
        pass

    told = Told(work())
    told.run.cancel()
    await turns()
    assert told.ended == [None]


# -- begun when something has happened ------------------------------------------------------


class Late:
    """A run that begins after `signal`; `left` tells whether there is work then."""

    def __init__(self, *, left: bool = True) -> None:
        self.ended: list[BaseException | None] = []
        self.seen: list[str] = []
        self.signal = Signal()
        self.left = left
        self.run = Run(lambda run: self.ended.append(run.fault))
        self.run.begin_after(self.signal, self.work)

    def work(self) -> Coroutine[Any, Any, None] | None:
        self.seen.append("asked")
        return self.wait() if self.left else None

    async def wait(self) -> None:
        try:
            await self.signal
            self.seen.append("went on")
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise


async def test_it_asks_for_its_work_when_the_signal_is_given() -> None:
    late = Late()
    assert late.seen == []
    late.signal.give()
    assert late.seen == ["asked", "went on"]
    assert late.ended == [None]


async def test_where_nothing_is_left_to_do_it_has_ended() -> None:
    late = Late(left=False)
    late.signal.give()
    assert late.seen == ["asked"]
    assert late.ended == [None]


async def test_an_error_that_was_given_is_raised_in_its_work() -> None:
    late = Late()
    late.signal.give(RuntimeError("broken"))
    assert [str(fault) for fault in late.ended] == ["broken"]


async def test_what_asking_for_its_work_raises_is_handed_on() -> None:
    def work() -> None:
        raise RuntimeError("a defect")

    ended: list[BaseException | None] = []
    signal, run = Signal(), Run(lambda run: ended.append(run.fault))
    run.begin_after(signal, work)
    signal.give()
    assert [str(fault) for fault in ended] == ["a defect"]


async def test_cancelled_before_the_signal_its_work_hears_of_it() -> None:
    late = Late()
    late.run.cancel()
    assert late.seen == []
    await turns()
    assert late.seen == ["asked", "cancelled"]
    assert [type(fault) for fault in late.ended] == [asyncio.CancelledError]
    late.signal.give()
    assert len(late.ended) == 1


async def test_a_signal_that_comes_before_the_cancellation_counts() -> None:
    late = Late()
    late.run.cancel()
    late.signal.give()
    await turns()
    assert late.seen == ["asked", "went on"]
    assert late.ended == [None]


async def test_cancelled_twice_it_is_asked_once() -> None:
    late = Late()
    late.run.cancel()
    late.run.cancel()
    await turns()
    assert late.seen == ["asked", "cancelled"]
    assert len(late.ended) == 1


# -- with a task --------------------------------------------------------------------------


async def test_who_asks_for_a_task_goes_on_in_one() -> None:
    seen = []

    async def work() -> None:
        await in_task()
        seen.append(asyncio.current_task())
        async with asyncio.timeout(5):
            await asyncio.sleep(0)

    told = await begin(work())
    await turns()
    assert isinstance(seen[0], asyncio.Task)
    assert told.ended == [None]


async def test_what_waits_for_a_future_goes_on_in_a_task() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    seen = []

    async def work() -> None:
        seen.append(await future)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(60)

    told = await begin(work())
    await turns()
    future.set_result(7)
    await asyncio.sleep(0.01)
    assert seen == [7]
    assert told.ended == [None]


async def test_in_a_task_a_signal_is_awaited_like_a_future() -> None:
    signal = Signal()

    async def work() -> None:
        await in_task()
        await signal

    told = await begin(work())
    await turns()
    signal.give()
    await turns()
    assert told.ended == [None]


async def test_in_a_task_it_is_cancelled_like_any() -> None:
    async def work() -> None:
        await in_task()
        await Signal()

    told = await begin(work())
    await turns()
    told.run.cancel()
    await turns()
    assert [type(fault) for fault in told.ended] == [asyncio.CancelledError]


async def test_a_cancellation_may_be_survived() -> None:
    seen = []

    async def work() -> None:
        await in_task()
        try:
            await Signal()
        except asyncio.CancelledError:
            seen.append("cancelled")
        await asyncio.sleep(0)
        seen.append("went on")

    told = await begin(work())
    await turns()
    told.run.cancel()
    await turns()
    assert seen == ["cancelled", "went on"]
    assert told.ended == [None]


async def test_what_it_raises_in_a_task_is_handed_on() -> None:
    async def work() -> None:
        await in_task()
        raise RuntimeError("a defect")

    told = await begin(work())
    await turns()
    assert [str(fault) for fault in told.ended] == ["a defect"]


# -- within somebody's task ---------------------------------------------------------------


async def test_any_task_may_await_a_signal() -> None:
    signal = Signal()

    async def work() -> str:
        await in_task()
        await signal
        return "gone on"

    task = asyncio.ensure_future(work())
    await turns()
    signal.give()
    assert await task == "gone on"


async def test_a_task_that_awaits_a_signal_can_be_cancelled() -> None:
    async def work() -> None:
        await Signal()

    task = asyncio.ensure_future(work())
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
