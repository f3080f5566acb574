from __future__ import annotations

import asyncio

import pytest

from proxy.cache.flights import Flights
from proxy.core.errors import GatewayFault, ProviderFault
from proxy.core.tasks import Tasks
from tests.parts.until import until


class Work:
    """Answers how often it was begun, once it may; notes what became of it."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.may_end = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> int:
        self.begun += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        return self.begun


@pytest.fixture
def faults() -> list[BaseException]:
    return []


@pytest.fixture
def tasks(faults: list[BaseException]) -> Tasks:
    return Tasks(faults.append)


@pytest.fixture
def flights(tasks: Tasks) -> Flights[int]:
    return Flights(tasks)


@pytest.fixture
def work() -> Work:
    return Work()


async def begun(flights: Flights[int], work: Work, count: int) -> list[asyncio.Task[tuple[int, bool]]]:  # fmt: skip
    waiters = [asyncio.ensure_future(flights.join(b"k", work)) for _ in range(count)]
    await until(lambda: work.begun, "the work's beginning")
    return waiters


async def test_all_who_ask_the_same_at_once_share_one_request(
    flights: Flights[int], work: Work
) -> None:
    waiters = await begun(flights, work, 10)
    work.may_end.set()
    found = await asyncio.gather(*waiters)
    assert [value for value, _ in found] == [1] * 10
    assert [is_first for _, is_first in found].count(True) == 1
    assert len(flights) == 0


async def test_who_asks_another_thing_or_later_begins_anew(
    flights: Flights[int], work: Work
) -> None:
    work.may_end.set()
    assert await flights.join(b"k", work) == (1, True)
    assert await flights.join(b"k", work) == (2, True)
    found = await asyncio.gather(flights.join(b"a", work), flights.join(b"b", work))
    assert all(is_first for _, is_first in found)


async def test_it_goes_on_while_one_waiter_remains(
    flights: Flights[int], work: Work
) -> None:
    waiters = await begun(flights, work, 3)
    for waiter in waiters[:2]:  # the first, which began it, among them
        waiter.cancel()
    await asyncio.gather(*waiters[:2], return_exceptions=True)
    late = asyncio.ensure_future(flights.join(b"k", work))
    work.may_end.set()
    assert await waiters[2] == (1, False)
    assert await late == (1, False)
    assert (work.begun, work.cancelled) == (1, 0)


async def test_it_ends_with_the_last_who_waits(
    flights: Flights[int], work: Work, tasks: Tasks, faults: list[BaseException]
) -> None:
    waiters = await begun(flights, work, 3)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    late = asyncio.ensure_future(flights.join(b"k", work))
    await until(lambda: work.cancelled and work.begun == 2, "another request")
    work.may_end.set()
    assert await late == (2, True)
    await until(lambda: not len(tasks), "the tasks' end")
    assert not faults


async def test_one_who_leaves_before_it_begins_begins_nothing(
    flights: Flights[int], work: Work, tasks: Tasks
) -> None:
    waiter = asyncio.ensure_future(flights.join(b"k", work))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    await until(lambda: not len(tasks), "the task's end")
    assert len(flights) == 0
    assert work.begun in (0, 1)
    assert work.begun == work.cancelled


async def test_what_it_raises_is_raised_to_each_and_is_no_fault_of_ours(
    flights: Flights[int], work: Work, faults: list[BaseException]
) -> None:
    work.failure = ProviderFault("upstream_error", "no")
    waiters = await begun(flights, work, 3)
    work.may_end.set()
    found = await asyncio.gather(*waiters, return_exceptions=True)
    assert found == [work.failure] * 3
    assert not faults
    assert len(flights) == 0


async def test_a_gateway_that_stops_tells_who_waits(work: Work) -> None:
    async with Tasks(lambda _: None) as tasks:
        flights: Flights[int] = Flights(tasks)
        waiters = await begun(flights, work, 2)
        unbegun = asyncio.ensure_future(flights.join(b"other", work))
        await asyncio.sleep(0)
    found = await asyncio.gather(*waiters, unbegun, return_exceptions=True)
    assert [isinstance(error, GatewayFault) for error in found] == [True] * 3
