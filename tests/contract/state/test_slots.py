from __future__ import annotations

import asyncio

from proxy.state.base import Bound, State


async def take(state: State, *bounds: Bound) -> bool:
    """Take, and wait for the answer where another process has to be asked."""
    news = asyncio.Event()
    state.slots.watch(news.set)
    while (taken := state.slots.try_take(bounds)) is None:
        await news.wait()
        news.clear()
    return taken


async def test_no_more_than_the_limit_is_held(state: State) -> None:
    taken = [await take(state, ("a", 2)) for _ in range(3)]
    assert taken == [True, True, False]
    assert state.slots.held("a") == 2


async def test_what_is_given_back_can_be_taken_again(state: State) -> None:
    await take(state, ("a", 1))
    state.slots.give_back((("a", 1),))
    assert state.slots.held("a") == 0
    assert await take(state, ("a", 1))


async def test_keys_are_counted_apart(state: State) -> None:
    await take(state, ("a", 1))
    assert await take(state, ("b", 1))


async def test_without_a_limit_it_is_counted_all_the_same(state: State) -> None:
    for _ in range(500):
        assert await take(state, ("a", None))
    assert state.slots.held("a") == 500


async def test_several_keys_are_taken_together_or_not_at_all(state: State) -> None:
    assert await take(state, ("a", 5), ("a/model", 1))
    assert not await take(state, ("a", 5), ("a/model", 1))
    assert state.slots.held("a") == 1
    assert await take(state, ("a", 5), ("a/other", 1))
    assert not await take(state, ("a", 2), ("a/third", 1))
    assert state.slots.held("a/third") == 0


async def test_a_lowered_limit_waits_for_what_is_held(state: State) -> None:
    for _ in range(3):
        await take(state, ("a", 3))
    for _ in range(2):
        assert not await take(state, ("a", 1))
        state.slots.give_back((("a", 3),))
    assert not await take(state, ("a", 1))
    state.slots.give_back((("a", 3),))
    assert await take(state, ("a", 1))


async def test_a_limit_of_zero_lets_nobody_in(state: State) -> None:
    assert not await take(state, ("a", 0))


async def test_room_is_there_until_all_is_taken(state: State) -> None:
    bounds: tuple[Bound, ...] = (("a", 1), ("a/model", None))
    assert state.slots.has_room(bounds)
    await take(state, *bounds)
    assert not state.slots.has_room(bounds)
    assert not state.slots.is_asked(bounds)
    assert state.slots.has_room((("b", 1),))
    assert not state.slots.has_room((("b", 0),))


async def test_a_place_counts_as_its_bounds_do(state: State) -> None:
    bounds: tuple[Bound, ...] = (("a", 2), ("a/model", None))
    place, other = state.slots.place(bounds), state.slots.place((("a", 2),))
    news = asyncio.Event()
    state.slots.watch(news.set)
    while not place.try_take():
        place.ask()
        await news.wait()
        news.clear()
    assert (state.slots.held("a"), state.slots.held("a/model")) == (1, 1)
    assert await take(state, ("a", 2))
    assert not other.try_take()
    place.ask()
    assert not state.slots.is_asked(bounds), "it is known to be full"
    place.give_back()
    other.give_back()
    assert (state.slots.held("a"), state.slots.held("a/model")) == (0, 0)


async def test_a_place_without_a_limit_is_taken_at_once(state: State) -> None:
    place = state.slots.place((("a", None), ("a/model", None)))
    assert place.try_take()
    assert state.slots.held("a") == 1
    place.give_back()
    assert state.slots.held("a") == 0
