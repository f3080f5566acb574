from __future__ import annotations

import asyncio
from typing import Final

import pytest

from proxy.state.valkey.state import ValkeyState
from tests.parts.until import until
from tests.proxy.state.valkey.asking import Asker
from tests.proxy.state.valkey.conftest import Join

BEAT_S: Final = 0.1


async def test_processes_never_hold_more_than_the_limit_together(join: Join) -> None:
    states = [await join() for _ in range(3)]
    held = most = 0

    async def work(state: ValkeyState, asker: Asker) -> None:
        nonlocal held, most
        await asker.wait(("gpu", 5), ("gpu\nqwen", 4))
        held += 1
        most = max(most, held)
        await asyncio.sleep(0.001)
        held -= 1
        state.slots.give_back((("gpu", 5), ("gpu\nqwen", 4)))

    async with asyncio.TaskGroup() as group:
        for state in states:
            asker = Asker(state)
            for _ in range(40):
                group.create_task(work(state, asker))
    assert most == 4
    assert [state.slots.held("gpu") for state in states] == [0, 0, 0]


async def test_what_one_process_gives_back_another_hears_of(join: Join) -> None:
    one, other = await join(beat_s=60), await join(beat_s=60)
    asker = Asker(other)
    assert await Asker(one).ask(("gpu", 1))
    waiting = asyncio.create_task(asker.wait(("gpu", 1)))
    await until(lambda: other.slots._wanted, "the other is refused, and in line")
    one.slots.give_back((("gpu", 1),))
    await waiting
    assert (one.slots.held("gpu"), other.slots.held("gpu")) == (0, 1)


async def test_processes_take_turns(join: Join) -> None:
    """Whoever gives back and asks again at once is not before one that waits."""
    one, other = await join(), await join()
    served: list[str] = []

    async def work(name: str, asker: Asker) -> None:
        await asker.wait(("gpu", 1))
        served.append(name)
        asker.give_back(("gpu", 1))

    asker_of_one, asker_of_other = Asker(one), Asker(other)
    assert await asker_of_one.ask(("gpu", 1))
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(work("one", asker_of_one))
            group.create_task(work("other", asker_of_other))
        await until(lambda: other.slots._wanted, "the other is in line")
        asker_of_one.give_back(("gpu", 1))
    assert "other" in served[:3]
    assert "one" in served[:3]


async def test_what_a_dead_process_held_comes_free(join: Join) -> None:
    dead, other = await join(beat_s=BEAT_S), await join(beat_s=BEAT_S)
    asker = Asker(other)
    assert await Asker(dead).ask(("gpu", 1))
    assert not await asker.ask(("gpu", 1))
    assert dead._post._task is not None
    dead._post._is_ending, dead._post._farewell = True, None
    await asker.wait(("gpu", 1))


async def test_what_a_process_held_is_free_once_it_has_ended(join: Join) -> None:
    one, other = await join(beat_s=60), await join(beat_s=60)
    asker = Asker(other)
    assert await Asker(one).ask(("gpu", 1))
    assert not await asker.ask(("gpu", 1))
    await one.__aexit__(None, None, None)
    await asker.wait(("gpu", 1))


async def test_what_nobody_takes_up_goes_back(join: Join) -> None:
    one, other = await join(beat_s=60), await join(beat_s=60)
    assert one.slots.try_take((("gpu", 1),)) is None  # and goes away
    await until(lambda: one.slots._spare, "it is granted")
    assert one.slots.held("gpu") == 0
    await Asker(other).wait(("gpu", 1))


async def test_without_a_limit_nobody_is_asked_but_all_can_see_it(join: Join) -> None:
    one, other = await join(beat_s=BEAT_S), await join(beat_s=BEAT_S)
    for _ in range(3):
        assert one.slots.try_take((("cloud", None),)) is True
    assert one.slots.held("cloud") == 3
    asker = Asker(other)
    # A reload has brought the other a limit; what is held counts.
    async with asyncio.timeout(5):
        while await asker.ask(("cloud", 3)):
            other.slots.give_back((("cloud", 3),))
            await asyncio.sleep(BEAT_S)


async def test_one_that_is_refused_knows_it_until_there_is_news(join: Join) -> None:
    one, other = await join(beat_s=60), await join(beat_s=60)
    bounds = (("gpu", 1), ("gpu\nqwen", None))
    assert await Asker(one).ask(*bounds)
    assert other.slots.has_room(bounds)
    assert other.slots.try_take(bounds, ask=False) is None
    assert not other.slots.is_asked(bounds)
    assert other.slots.try_take(bounds) is None
    assert other.slots.is_asked(bounds)
    await until(lambda: not other.slots.is_asked(bounds), "the answer")
    assert not other.slots.has_room(bounds)
    assert other.slots.try_take(bounds) is False
    assert not other.slots.is_asked(bounds)


async def test_a_place_in_line_that_nobody_needs_is_given_up(join: Join) -> None:
    one, gone, other = await join(), await join(), await join()
    assert await Asker(one).ask(("gpu", 1))
    assert not await Asker(gone).ask(("gpu", 1))  # and does not wait
    asker = Asker(other)
    assert not await asker.ask(("gpu", 1))
    one.slots.give_back((("gpu", 1),))
    await asker.wait(("gpu", 1))


@pytest.mark.parametrize("limit", [0, 1])
async def test_a_limit_holds_from_the_first_request_on(join: Join, limit: int) -> None:
    one = await join(processes=4)
    taken = [await Asker(one).ask(("gpu", limit)) for _ in range(2)]
    assert taken.count(True) == limit
