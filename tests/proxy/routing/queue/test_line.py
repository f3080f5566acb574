"""Who gets the slot: priority, turns between holders, lateness, the loaded model."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from proxy.routing.queue.claim import OVERTAKES
from proxy.routing.queue.line import _IDLE_SHARES
from tests.proxy.routing.queue.conftest import Build
from tests.proxy.routing.queue.house import MAX_WAIT_S, House, provider, turn


async def test_the_lower_priority_goes_first(build: Build) -> None:
    house = build()
    await house.ask("busy")
    for priority in (2, 0, 1, 0):
        await house.ask(f"p{priority}", priority=priority)
    assert await house.order(4) == ["p0", "p0", "p1", "p2"]


async def test_holders_take_turns_however_much_they_ask(build: Build) -> None:
    house = build()
    await house.ask("busy")
    for holder in ("a", "a", "a", "a", "b", "b", "c"):
        await house.ask(holder)
    assert await house.order(7) == ["a", "b", "c", "a", "b", "a", "a"]


async def test_one_holder_is_served_in_the_order_of_asking(build: Build) -> None:
    house = build()
    guests = [await house.ask("a") for _ in range(20)]
    for _ in range(19):
        await house.serve_next()
    assert house.served == guests


async def test_who_asks_again_at_once_does_not_get_two_turns(build: Build) -> None:
    house = build()
    await house.ask("busy")
    for holder in ("quick", "slow", "slow", "slow"):
        await house.ask(holder)
    order = []
    for _ in range(4):
        served = await house.serve_next()
        order.append(served.holder)
        if served.holder == "quick":
            await house.ask("quick")
    assert order == ["quick", "slow", "slow", "quick"]


async def test_waiting_long_is_no_claim_to_several_turns(build: Build) -> None:
    """A holder kept out by others' priority does not come in with a credit."""
    house = build()
    await house.ask("busy")
    for _ in range(20):
        await house.ask("agent", priority=0)
    for _ in range(5):
        await house.ask("early")
    await house.order(20)
    for _ in range(5):
        await house.ask("newcomer")
    assert Counter(await house.order(6)) == {"early": 3, "newcomer": 3}


async def test_who_is_late_counts_as_first(build: Build) -> None:
    house = build()
    await house.ask("busy")
    late = await house.ask("usual", priority=3)
    await house.pass_by(MAX_WAIT_S / 2 - 1)
    for _ in range(10):
        await house.ask("agent", priority=0)
    assert (await house.serve_next()).holder == "agent"
    await house.pass_by(1)
    assert await house.serve_next() is late


async def test_the_late_leave_every_second_turn_to_the_first(build: Build) -> None:
    house = build()
    await house.ask("busy")
    for number in range(5):
        await house.ask(f"usual-{number}")
    await house.pass_by(MAX_WAIT_S / 2)
    for _ in range(5):
        await house.ask("agent", priority=0)
    order = await house.order(6)
    assert [name.startswith("usual") for name in order] == [True, False] * 3


@pytest.mark.parametrize("agents", [1, 3, 400])
async def test_a_flood_of_the_first_delays_one_other_no_longer_than_promised(
    build: Build, agents: int
) -> None:
    """500 requests of agents against a queue of 256, 2 s each, and one of another.

    It comes while the queue has places that agents hold more than one of, or, with
    hundreds of keys, before they come; then they keep the queue full.
    """
    house, service_s = build(max_length=256), 2.0
    one = None
    for number in range(500):
        if number == (400 if agents < 256 else 100):
            one = await house.ask("usual", priority=1)
        await house.ask(f"agent-{number % agents}", priority=0)
    assert one is not None
    number = 500
    while one.waits:
        await house.pass_by(service_s)
        await house.serve_next()
        number += 1
        await house.ask(f"agent-{number % agents}", priority=0)
    assert one.error is None
    assert one.served_at is not None
    delay_s = one.served_at - one.asked_at
    assert delay_s <= MAX_WAIT_S / 2 + 2 * service_s
    assert sum(guest.code == "queue_full" for guest in house.guests) > 200


async def test_nobody_starves_among_equals_in_overload(build: Build) -> None:
    """Twice as much is asked as can be served: every holder gets its share."""
    house = build(max_length=64)
    for second in range(200):
        for holder in ("a", "b", "b", "b", "c", "c"):
            await house.ask(holder)
        await house.served[-1].finish()
        await house.pass_by(1)
        assert house.provider().active == 1, second
    shares = Counter(guest.holder for guest in house.served)
    assert max(shares.values()) - min(shares.values()) <= 3


async def test_turns_of_holders_that_are_gone_are_remembered_within_a_bound(
    build: Build,
) -> None:
    house = build()
    await house.ask("busy")
    await house.ask("stays", priority=9)
    for number in range(_IDLE_SHARES + 20):
        guest = await house.ask(f"passing-{number}")
        await guest.leave()
    line = house.queue._crowd.lines["gpu"]
    assert len(line._idle) == _IDLE_SHARES
    assert len(line._shares) == 1


# -- the loaded model ---------------------------------------------------------------


async def models(house: House, count: int) -> list[str]:
    served = [await house.serve_next() for _ in range(count)]
    return [g.claim.candidates[0].upstream_model for g in served]


async def test_requests_for_the_loaded_model_go_ahead_of_a_swap(build: Build) -> None:
    house = build()
    await house.ask("x", model="A")
    for model in ("B", "A", "B", "A"):
        await house.ask(f"holder-of-{model}", model=model)
    assert await models(house, 4) == ["A", "A", "B", "B"]


async def test_a_swap_is_put_off_so_many_times_and_no_more(build: Build) -> None:
    house = build()
    await house.ask("x", model="A")
    await house.ask("b", model="B")
    for _ in range(10):
        await house.ask("a", model="A")
    assert await models(house, OVERTAKES + 1) == ["A"] * OVERTAKES + ["B"]


async def test_a_swap_is_not_put_off_close_to_the_deadline(build: Build) -> None:
    house = build()
    await house.ask("x", model="A")
    await house.ask("b", model="B")
    await house.ask("a", model="A")
    await house.pass_by(MAX_WAIT_S * 0.75)
    assert await models(house, 1) == ["B"]


async def test_the_loaded_model_does_not_go_ahead_of_a_priority(build: Build) -> None:
    house = build()
    await house.ask("x", model="A")
    await house.ask("usual", model="A")
    await house.ask("agent", model="B", priority=0)
    assert await house.order(2) == ["agent", "usual"]


async def test_who_became_first_by_being_late_waits_for_no_loaded_model(
    build: Build,
) -> None:
    house = build()
    await house.ask("x", model="A")
    await house.ask("usual", model="B")
    await house.pass_by(MAX_WAIT_S / 2)
    await house.ask("agent", model="A", priority=0)
    assert await house.order(2) == ["usual", "agent"]


async def test_who_names_no_model_is_not_taken_for_the_loaded_one(build: Build) -> None:
    """Nobody reads the model of what passes through: any may be loaded after it."""
    house = build()
    await house.ask("x", model="")
    await house.ask("b", model="B")
    await house.ask("y", model="")
    assert await house.order(2) == ["b", "y"]


async def test_a_cloud_has_nothing_to_swap(build: Build) -> None:
    house = build()
    house.load(provider("gpu", 1, type="cloud"))
    await house.ask("x", model="A")
    await house.ask("b", model="B")
    await house.ask("a", model="A")
    assert await house.order(2) == ["b", "a"]


async def test_two_models_do_not_take_turns_on_one_machine(build: Build) -> None:
    """Everybody is served, with far fewer swaps than requests."""
    house = build()
    await house.ask("x", model="A")
    for number in range(40):
        await house.ask(f"key-{number % 2}", model="AB"[number % 2])
    order = await models(house, 40)
    swaps = sum(a != b for a, b in pairwise(order))
    assert Counter(order) == {"A": 20, "B": 20}
    assert swaps <= 40 / OVERTAKES
    await turn()
