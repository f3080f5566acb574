"""Providers that come, go and change while somebody waits for them."""

from __future__ import annotations

from collections.abc import Callable

from proxy.core.errors import CallerFault
from proxy.routing.model import Candidate
from proxy.routing.registry import Finding, Status
from proxy.state.base import Bound
from proxy.state.memory_slots import MemoryPlace, MemorySlots
from tests.proxy.routing.queue.conftest import Build
from tests.proxy.routing.queue.house import provider, turn


async def test_a_raised_limit_lets_more_in(build: Build) -> None:
    house = build()
    await house.ask()
    waiters = [await house.ask() for _ in range(3)]
    house.load(provider("gpu", 3))
    await turn()
    assert [waiter.waits for waiter in waiters] == [False, False, True]


async def test_a_limit_that_a_probe_has_found_is_noticed_at_the_next_tick(
    build: Build,
) -> None:
    house = build()
    gpu = house.provider()
    house.load(provider("gpu", None, max_concurrent_given=False))
    house.registry.report(gpu, Finding(Status.ONLINE, slots=1))
    await house.ask()
    waiter = await house.ask()
    house.registry.report(gpu, Finding(Status.ONLINE, slots=2))
    await house.pass_by(0.25)
    assert waiter.lease is not None


async def test_a_lowered_limit_lets_nobody_in_before_it_is_met(build: Build) -> None:
    house = build(slots=2)
    first, second = await house.ask(), await house.ask()
    waiter = await house.ask()
    house.load(provider("gpu", 1))
    await first.finish()
    assert waiter.waits
    await second.finish()
    assert waiter.lease is not None


async def test_a_provider_that_is_drained_gets_nobody_who_waits(build: Build) -> None:
    house = build()
    house.load(provider("gpu", 1), provider("mac", 1))
    at_gpu = await house.ask("a", house.at("gpu"))
    at_mac = await house.ask("b", house.at("mac"))
    waiter = await house.ask("c", house.at("gpu"), house.at("mac"))
    only_gpu = await house.ask("d", house.at("gpu"))
    house.registry.hold(house.provider("gpu"), Status.DRAINING)
    house.queue.reconsider()
    await turn()
    assert only_gpu.code == "all_providers_unavailable"
    await at_gpu.finish()
    assert waiter.waits
    await at_mac.finish()
    assert waiter.lease is not None
    assert waiter.lease.candidate.provider.id == "mac"


async def test_a_provider_that_went_down_is_not_given_a_request(build: Build) -> None:
    house = build()
    first = await house.ask()
    waiter = await house.ask()
    house.registry.report(house.provider(), Finding(Status.OFFLINE, "gone"))
    await first.finish()
    assert waiter.waits, "nobody has chosen anew yet"
    house.queue.reconsider()
    await turn()
    assert waiter.code == "all_providers_unavailable"


async def test_a_provider_that_is_no_more_is_not_given_a_request(build: Build) -> None:
    house = build()
    house.load(provider("gpu", 1), provider("mac", 1))
    first = await house.ask("a", house.at("gpu"))
    waiter = await house.ask("b", house.at("gpu"))
    house.load(provider("mac", 1))
    await first.finish()
    assert waiter.code == "all_providers_unavailable"


async def test_who_waits_chooses_anew_and_keeps_its_place(build: Build) -> None:
    house = build()
    house.load(provider("gpu", 1), provider("mac", 1))
    known: dict[str, tuple[Candidate, ...]] = {"model": (house.at("gpu"),)}

    def choose() -> tuple[Candidate, ...]:
        return known["model"]

    await house.ask("a", house.at("gpu"))
    at_mac = await house.ask("b", house.at("mac"))
    moved = await house.ask("c", house.at("gpu"), choose=choose)
    later = await house.ask("c", house.at("mac"))
    known["model"] = (house.at("mac"),)
    house.queue.reconsider()
    assert house.queue.presence("gpu").length == 0
    await at_mac.finish()
    assert (moved.waits, later.waits) == (False, True)


async def test_a_provider_that_is_new_serves_who_waits_for_others(build: Build) -> None:
    house = build()
    await house.ask()
    waiter = await house.ask(
        choose=lambda: tuple(
            Candidate(found, "qwen") for found in house.registry.providers
        )
    )
    house.load(provider("gpu", 1), provider("new", 1))
    await turn()
    assert waiter.lease is not None
    assert waiter.lease.candidate.provider.id == "new"


async def test_what_choosing_raises_ends_the_wait(build: Build) -> None:
    house = build()
    await house.ask()

    def choose() -> tuple[Candidate, ...]:
        raise CallerFault("model_not_found", "It was taken out.")

    waiter = await house.ask(choose=choose)
    house.queue.reconsider()
    await turn()
    assert waiter.code == "model_not_found"


async def test_what_may_not_be_served_waits_until_it_may(build: Build) -> None:
    open_: set[str] = set()
    house = build(may_serve=lambda candidate: candidate.upstream_model in open_)
    await house.ask("a")
    cooling = await house.ask("b", model="cooling")
    await house.served[-1].finish()
    assert cooling.waits
    assert house.provider().active == 0
    open_.add("cooling")
    await house.pass_by(0.25)
    assert cooling.lease is not None


class AskedPlace:
    """A place of which nothing is known before the answer."""

    def __init__(
        self, counts: AskedCounts, bounds: tuple[Bound, ...], place: MemoryPlace
    ) -> None:
        self._counts = counts
        self._bounds = bounds
        self._place = place
        self.give_back = place.give_back

    def try_take(self) -> bool | None:
        return self._place.try_take() if self._counts.known else None

    @property
    def has_room(self) -> bool:
        return self._place.has_room

    def ask(self) -> None:
        if not self._counts.known:
            self._counts.asked.add(self._bounds)


class AskedCounts(MemorySlots):
    """Counts of which another process has to be asked first."""

    def __init__(self) -> None:
        super().__init__()
        self.known = False
        self.asked: set[tuple[Bound, ...]] = set()
        self._callbacks: list[Callable[[], None]] = []

    def place(self, bounds: tuple[Bound, ...]) -> AskedPlace:  # type: ignore[override]
        return AskedPlace(self, bounds, super().place(bounds))

    def is_asked(self, bounds: tuple[Bound, ...]) -> bool:
        return bounds in self.asked

    def watch(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def answer(self) -> None:
        self.known = True
        self.asked.clear()
        for callback in self._callbacks:
            callback()


async def test_where_another_process_is_asked_the_answer_is_waited_for(
    build: Build,
) -> None:
    counts = AskedCounts()
    house = build(counts=counts)
    guests = [await house.ask("a"), await house.ask("b")]
    assert all(guest.waits for guest in guests)
    counts.answer()
    await turn()
    assert [guest.waits for guest in guests] == [False, True]


async def test_no_place_in_the_queue_is_needed_to_wait_for_an_answer(
    build: Build,
) -> None:
    counts = AskedCounts()
    house = build(slots=2, counts=counts, max_length=1)
    guests = [await house.ask(holder) for holder in "aaab"]
    assert all(guest.waits for guest in guests)
    counts.answer()
    await turn()
    assert [guest.lease is not None for guest in guests] == [True, False, False, True]
    assert [guest.code for guest in guests] == [None, None, "queue_full", None]


async def test_who_may_not_wait_still_hears_the_answer(build: Build) -> None:
    counts = AskedCounts()
    house = build(counts=counts)
    first = await house.ask("a", max_wait_s=0)
    second = await house.ask("b", max_wait_s=0)
    await house.pass_by(0.25)
    assert first.waits
    counts.answer()
    await turn()
    assert first.lease is not None
    assert second.code == "provider_capacity_exceeded"


async def test_nothing_worse_is_taken_while_others_are_asked_about_the_best(
    build: Build,
) -> None:
    counts = AskedCounts()
    house = build(counts=counts)
    house.load(provider("gpu", 1), provider("spare", None))
    guest = await house.ask("a", house.at("gpu"), house.at("spare"))
    house.queue.wake()
    assert {bounds[0][0] for bounds in counts.asked} == {"gpu"}
    counts.answer()
    await turn()
    assert guest.lease is not None
    assert guest.lease.candidate.provider.id == "gpu"


async def test_the_better_is_taken_whichever_line_is_older(build: Build) -> None:
    counts = AskedCounts()
    house = build(counts=counts)
    house.load(provider("gpu", 1), provider("spare", 5), provider("other", 1))
    early = await house.ask("a", house.at("spare"))
    late = await house.ask("b", house.at("gpu"), house.at("spare"))
    cross = await house.ask("c", house.at("spare"), house.at("gpu"))
    house.queue.wake()
    counts.answer()
    await turn()
    leases = [guest.lease for guest in (early, late, cross)]
    served = [lease.candidate.provider.id for lease in leases if lease is not None]
    assert served == ["spare", "gpu", "spare"]
