"""Getting a slot, waiting for one, leaving."""

from __future__ import annotations

import asyncio

import pytest

from proxy.core.errors import GatewayFault
from proxy.core.run import Run
from proxy.routing.queue import Claim
from tests.proxy.routing.queue.conftest import Build
from tests.proxy.routing.queue.house import House, provider, turn


def test_a_free_slot_is_taken_with_no_task_no_future_and_no_timer() -> None:
    house = House()
    entering = house.queue.lease(Claim((house.at(),), "key"))
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()
    with pytest.raises(StopIteration) as entered:
        entering.__aenter__().send(None)
    assert entered.value.value.waited_s is None
    assert len(house.clock.ticker) == 0
    with pytest.raises(StopIteration):
        entering.__aexit__(None, None, None).send(None)
    house.assert_empty()


async def test_the_first_candidate_with_room_is_taken(build: Build) -> None:
    house = build()
    house.load(provider("gpu", 1), provider("mac", 1))
    both = (house.at("gpu"), house.at("mac"))
    assert house.queue.with_room(both) == both
    await house.ask("a", *both)
    assert house.queue.with_room(both) == both[1:]
    await house.ask("a", *both)
    assert [g.lease.candidate for g in house.served if g.lease] == list(both)
    assert house.queue.with_room(both) == ()


async def test_a_slot_that_comes_free_goes_to_who_waits(build: Build) -> None:
    house = build()
    first = await house.ask()
    second = await house.ask()
    assert second.waits
    await house.pass_by(3)
    assert house.queue.presence() == house.queue.presence("gpu") == (1, 3.0)
    await first.finish()
    assert second.lease is not None
    assert second.lease.waited_s == 3
    assert house.queue.presence() == (0, 0.0)
    assert house.provider().active == 1


async def test_a_newcomer_does_not_overtake_who_could_use_the_slot(
    build: Build,
) -> None:
    house = build()
    first = await house.ask("a")
    waiter = await house.ask("b")
    house.registry.load((provider("gpu", 2),))  # and nobody is told
    assert house.queue.with_room((house.at(),)) == ()
    assert waiter.lease is None
    await turn()
    assert waiter.lease is not None
    newcomer = await house.ask("c")
    assert newcomer.waits
    await first.finish()


async def test_a_newcomer_may_use_what_those_who_wait_cannot(build: Build) -> None:
    house = build(slots=2)
    house.slots._models = {("gpu", "big"): 1}
    await house.ask("a", model="big")
    blocked = await house.ask("b", model="big")
    newcomer = await house.ask("c", model="small")
    assert blocked.waits
    assert newcomer.lease is not None


async def test_of_several_candidates_the_first_that_comes_free_is_taken(
    build: Build,
) -> None:
    house = build()
    house.load(provider("gpu", 1), provider("mac", 1))
    await house.ask("a", house.at("gpu"))
    at_mac = await house.ask("b", house.at("mac"))
    waiter = await house.ask("c", house.at("gpu"), house.at("mac"))
    assert house.queue.presence("gpu").length == 1
    assert house.queue.presence("mac").length == 1
    await at_mac.finish()
    assert waiter.lease is not None
    assert waiter.lease.candidate.provider.id == "mac"
    assert house.queue.presence("gpu").length == 0


async def test_at_the_deadline_the_wait_ends(build: Build) -> None:
    house = build(max_wait_s=10)
    await house.ask()
    waiter = await house.ask()
    own_deadline = await house.ask(max_wait_s=4)
    await house.pass_by(3.9)
    assert own_deadline.waits
    await house.pass_by(0.1)
    assert own_deadline.code == "provider_capacity_exceeded"
    assert waiter.waits
    await house.pass_by(6)
    assert waiter.error is not None
    assert waiter.error.status == 503
    assert waiter.error.retry_after_s is not None
    assert house.provider().active == 1


async def test_no_time_to_wait_means_an_answer_at_once(build: Build) -> None:
    house = build(max_wait_s=0)
    await house.ask()
    assert (await house.ask()).code == "provider_capacity_exceeded"


async def test_no_place_to_wait_means_an_answer_at_once(build: Build) -> None:
    house = build(max_length=0)
    await house.ask()
    refused = await house.ask()
    assert refused.code == "queue_full"
    assert refused.error is not None
    assert (refused.error.status, refused.error.entry.type) == (429, "rate_limit_error")


async def test_who_goes_away_leaves_at_once(build: Build) -> None:
    house = build()
    await house.ask("a")
    leaving = await house.ask("b")
    staying = await house.ask("c")
    await leaving.leave()
    assert len(house.queue) == 1
    assert await house.serve_next() is staying


async def test_a_slot_handed_over_in_the_moment_of_leaving_goes_on(
    build: Build,
) -> None:
    house = build()
    await house.ask("a")
    leaving = await house.ask("b")
    next_one = await house.ask("c")
    holding = house.served[-1].lease
    assert holding is not None
    holding.release()
    assert len(house.queue) == 1
    assert leaving.lease is None, "it was handed over, and not yet taken up"
    leaving.task.cancel()
    await turn()
    assert leaving.task.cancelled()
    assert next_one.lease is not None
    assert house.provider().active == 1


async def test_a_slot_is_not_handed_to_who_has_just_gone(build: Build) -> None:
    house = build()
    first = await house.ask("a")
    leaving = await house.ask("b")
    next_one = await house.ask("c")
    leaving.task.cancel()
    assert first.lease is not None
    first.lease.release()
    await turn()
    assert leaving.lease is None
    assert next_one.lease is not None


async def test_the_newest_of_the_holder_with_most_places_gives_way(
    build: Build,
) -> None:
    house = build(max_length=3)
    await house.ask("busy")
    waiters = [await house.ask(holder) for holder in ("a", "a", "b")]
    newcomer = await house.ask("c")
    assert [w.code for w in waiters] == [None, "queue_full", None]
    assert newcomer.waits
    assert len(house.queue) == 3


async def test_a_newcomer_gives_way_himself_if_nobody_holds_more(build: Build) -> None:
    house = build(max_length=2)
    await house.ask("busy")
    waiters = [await house.ask("a"), await house.ask("b")]
    assert (await house.ask("a")).code == "queue_full"
    assert (await house.ask("c")).code == "queue_full"
    assert all(waiter.waits for waiter in waiters)


async def test_of_two_with_most_places_the_newest_gives_way(build: Build) -> None:
    house = build(max_length=4)
    await house.ask("busy")
    waiters = [await house.ask(holder) for holder in ("a", "b", "b", "a")]
    await house.ask("c")
    assert [w.code for w in waiters] == [None, None, None, "queue_full"]


async def test_a_shorter_queue_sends_nobody_away_but_newcomers(build: Build) -> None:
    house = build(max_length=3)
    await house.ask("busy")
    waiters = [await house.ask("a") for _ in range(3)]
    house.queue.load(house.queue._config.model_copy(update={"max_length": 1}))
    assert (await house.ask("a")).code == "queue_full"
    assert all(waiter.waits for waiter in waiters)


async def test_an_error_in_the_block_gives_the_slot_back(build: Build) -> None:
    house = build()
    with pytest.raises(GatewayFault):
        async with house.queue.lease(Claim((house.at(),), "key")):
            raise GatewayFault("internal_error", "broken")
    assert house.provider().active == 0


async def test_retry_after_is_when_those_ahead_will_have_been_served(
    build: Build,
) -> None:
    house = build(slots=2, max_length=6)
    for _ in range(10):  # what is observed: eight seconds each
        guest = await house.ask()
        await house.pass_by(8)
        await guest.finish()
    for _ in range(8):
        await house.ask("a")
    refused = await house.ask("a")
    assert refused.error is not None
    told_s = refused.error.retry_after_s
    assert told_s == pytest.approx((6 + 1) / 2 * 8)
    since = house.clock.now
    while house.queue.presence().length:
        await house.pass_by(8)
        for guest in house.served[-2:]:
            await guest.finish()
    assert told_s == pytest.approx(house.clock.now - since, abs=8)


async def test_retry_after_has_bounds(build: Build) -> None:
    house = build(max_length=0, max_wait_s=30)
    guest = await house.ask()
    await house.pass_by(0.01)
    await guest.finish()
    await house.ask()
    quick = await house.ask()
    await house.pass_by(9999)
    await house.served[-1].finish()
    await house.ask()
    slow = await house.ask()
    assert [g.error and g.error.retry_after_s for g in (quick, slow)] == [1, 30]


async def test_a_call_that_runs_without_a_task_can_wait_and_leave(
    build: Build,
) -> None:
    house = build()
    first = await house.ask("a")
    ended: list[Run] = []
    models: list[str] = []

    async def call() -> None:
        async with house.queue.lease(Claim((house.at(),), "b")) as lease:
            models.append(lease.candidate.upstream_model)

    runs = [Run(ended.append), Run(ended.append)]
    for run in runs:
        run.begin(call())
    assert len(house.queue) == 2
    runs[0].cancel()
    await turn()
    assert len(house.queue) == 1
    await first.finish()
    await turn()
    assert models == ["qwen"]
    assert ended == runs
