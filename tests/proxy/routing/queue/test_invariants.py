"""Whatever happens in whatever order: no slot too many, none lost, none left unused."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import ModelConfig
from tests.proxy.routing.queue.house import House, provider, turn

MODELS = ("A", "B")
IDS = ("gpu", "mac")
Step = tuple[str, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["ask", "ask", "ask", "finish", "leave", "both", "limit", "model", "pass"]
        ),
        st.integers(0, 10_000),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(steps)
def test_slots_are_neither_exceeded_nor_lost_nor_left_unused(plan: list[Step]) -> None:
    asyncio.run(play(plan))


@pytest.mark.parametrize("seed", range(3))
async def test_two_hundred_at_once_with_aborts_and_reloads(seed: int) -> None:
    dice = random.Random(seed)
    kinds = ["ask"] * 4 + ["finish", "finish", "leave", "both", "pass"]
    plan = [("ask", dice.randrange(10_000)) for _ in range(200)]
    for number in range(600):
        kind = "limit" if number % 30 == 0 else dice.choice(kinds)
        plan.append((kind, dice.randrange(10_000)))
    await play(plan)


async def play(plan: list[Step]) -> None:
    house = House(max_length=40, max_wait_s=30)
    limits = {"gpu": 1, "mac": 2}
    house.load(*(provider(id_, limit) for id_, limit in limits.items()))
    counted = watched(house)
    for kind, number in plan:
        await act(house, limits, kind, number)
        assert not counted, counted
        assert_nothing_is_left_unused(house)
        assert len(house.queue) <= 40
    await house.close()
    house.assert_empty()
    assert all(g.task.done() for g in house.guests)


def watched(house: House) -> list[str]:
    """List every lease beyond a limit of the moment at which it was given."""
    wrong: list[str] = []
    take = house.slots.try_lease

    def try_lease(candidate):  # type: ignore[no-untyped-def]
        had_room = house.slots.has_room(candidate)
        lease = take(candidate)
        if lease is not None and not had_room:
            wrong.append(f"{candidate.provider.id} {candidate.upstream_model}")
        return lease

    house.slots.try_lease = try_lease  # type: ignore[method-assign]
    return wrong


async def act(house: House, limits: dict[str, int], kind: str, number: int) -> None:
    inside = [g for g in house.served if not g.task.done()]
    waiting = [g for g in house.guests if g.waits]
    if kind == "ask":
        ids = (IDS, IDS[:1], IDS[1:], IDS[::-1])[number % 4]
        candidates = [house.at(id_, MODELS[number // 4 % 2]) for id_ in ids]
        await house.ask(f"key-{number % 5}", *candidates, priority=number % 3)
    elif kind == "finish" and inside:
        await inside[number % len(inside)].finish()
    elif kind == "leave" and waiting:
        await waiting[number % len(waiting)].leave()
    elif kind == "both" and waiting and inside:
        # A slot comes free and somebody leaves, within the same turn of the loop.
        inside[number % len(inside)]._finished.set()
        for _ in range(number % 4):
            await asyncio.sleep(0)
        waiting[number % len(waiting)].task.cancel()
        await turn()
    elif kind == "limit":
        limits[IDS[number % 2]] = 1 + number // 2 % 3
        house.load(*(provider(id_, limit) for id_, limit in limits.items()))
        await turn()
    elif kind == "model":
        served_by = [{"id": id_} for id_ in IDS]
        house.slots.load(
            [ModelConfig(id="A", providers=served_by, maxConcurrent=1 + number % 2)]  # type: ignore[call-arg,arg-type]
        )
        house.queue.wake()
        await turn()
    elif kind == "pass":
        await house.pass_by(number % 20)


def assert_nothing_is_left_unused(house: House) -> None:
    idle = [
        f"{guest.holder} waits though {candidate.provider.id} has room"
        for guest in house.guests
        if guest.waits
        for candidate in guest.claim.candidates
        if house.slots.has_room(candidate)
    ]
    assert not idle
