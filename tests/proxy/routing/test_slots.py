from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from proxy.config import ModelConfig, ProviderConfig
from proxy.routing.model import Candidate
from proxy.routing.registry import Provider, Registry
from proxy.routing.slots import Lease, Slots
from proxy.state.memory import MemoryState
from tests.fakes.hand_clock import HandClock
from tests.fakes.kinds import KINDS


class House:
    """One provider `gpu`, its slots and a clock."""

    def __init__(self, max_concurrent: int | None = 1) -> None:
        self.clock = HandClock()
        self.config = ProviderConfig(
            id="gpu",
            kind="vllm",
            endpoint="http://gpu.lan",
            max_concurrent=max_concurrent,
            max_concurrent_given=True,
        )
        self.registry = Registry((self.config,), KINDS)
        self.slots = Slots(self.registry, MemoryState(self.clock).slots, self.clock)

    @property
    def gpu(self) -> Provider:
        provider = self.registry.get("gpu")
        assert provider is not None
        return provider

    def reload(self, max_concurrent: int | None, kind: str = "vllm") -> None:
        self.registry.load(
            (replace(self.config, max_concurrent=max_concurrent, kind=kind),)
        )

    def ask(self, model: str = "qwen", config: ModelConfig | None = None) -> Candidate:
        return Candidate(self.gpu, model, config)

    def take(self, model: str = "qwen") -> Lease:
        lease = self.slots.try_lease(self.ask(model))
        assert lease is not None
        return lease


def test_there_are_as_many_leases_as_slots() -> None:
    house = House(max_concurrent=2)
    first = house.take()
    house.take()
    assert house.slots.try_lease(house.ask()) is None
    assert not house.slots.has_room(house.ask())
    assert house.slots.is_full("gpu")
    first.release()
    assert house.slots.has_room(house.ask())
    house.take()


def test_active_is_what_is_held() -> None:
    house = House(max_concurrent=None)
    leases = [house.take() for _ in range(50)]
    assert house.gpu.active == 50
    for lease in leases:
        lease.release()
    assert house.gpu.active == 0
    assert not house.slots.is_full("gpu")


def test_a_lease_is_given_back_once() -> None:
    house = House(max_concurrent=2)
    first, _ = house.take(), house.take()
    first.release()
    first.release()
    assert house.gpu.active == 1


async def test_a_lease_ends_with_its_block_however_that_ends() -> None:
    house = House()
    with pytest.raises(RuntimeError, match="broken"):
        async with house.take() as lease:
            raise RuntimeError("broken")
    lease.release()
    assert house.gpu.active == 0

    entered = asyncio.Event()

    async def hold() -> None:
        async with house.take():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await entered.wait()
    task.cancel()
    await asyncio.wait([task])
    assert house.gpu.active == 0


def test_a_reload_does_not_double_the_slots() -> None:
    house = House()
    lease = house.take()
    house.reload(1)
    assert house.slots.try_lease(house.ask()) is None
    lease.release()
    house.take()


def test_a_lowered_limit_holds_for_new_leases_while_old_ones_run_out() -> None:
    house = House(max_concurrent=3)
    leases = [house.take() for _ in range(3)]
    house.reload(1)
    for lease in leases:
        assert house.slots.try_lease(house.ask()) is None
        lease.release()
    house.take()


def test_what_is_held_counts_for_another_server_under_the_same_id() -> None:
    house = House()
    before = house.gpu
    lease = house.take()
    house.reload(1, kind="ollama")
    assert house.gpu is not before
    assert house.gpu.active == 1
    assert house.slots.try_lease(house.ask()) is None
    lease.release()
    assert house.gpu.active == 0


def test_a_lease_outlives_its_provider() -> None:
    house = House()
    provider, lease = house.gpu, house.take()
    house.registry.load(())
    lease.release()
    assert provider.active == 0
    assert house.slots.latest_model("gpu") is None


def limited(limit: int, id_: str = "chat", upstream: str = "qwen") -> ModelConfig:
    return ModelConfig(
        id=id_, provider_id="gpu", upstream_model=upstream, max_concurrent=limit
    )


def test_a_limit_of_a_model_lies_within_that_of_its_provider() -> None:
    house = House(max_concurrent=3)
    house.slots.load([limited(1)])
    house.take()
    assert house.slots.try_lease(house.ask()) is None
    assert house.slots.capacity(house.ask()) == 1
    assert house.slots.has_room(house.ask("llama"))
    house.take("llama")
    house.take("llama")
    assert house.slots.try_lease(house.ask("mistral")) is None
    assert house.gpu.active == 3


def test_a_limit_of_a_model_holds_for_every_name_of_it() -> None:
    house = House(max_concurrent=None)
    house.slots.load([limited(1, id_="other-name"), limited(5)])
    house.take()
    assert house.slots.try_lease(house.ask(config=limited(5))) is None


def test_a_limit_of_a_wildcard_holds_for_each_of_its_models() -> None:
    house = House(max_concurrent=None)
    wild = ModelConfig(id="all/*", provider_id="gpu", max_concurrent=1)
    house.slots.load([wild])
    assert house.slots.try_lease(house.ask("a", wild)) is not None
    assert house.slots.try_lease(house.ask("a", wild)) is None
    assert house.slots.try_lease(house.ask("b", wild)) is not None


def test_a_limit_that_is_new_counts_what_is_held_already() -> None:
    house = House(max_concurrent=None)
    lease = house.take()
    house.slots.load([limited(1)])
    assert house.slots.try_lease(house.ask()) is None
    lease.release()
    house.take()


def test_who_listens_hears_of_a_lease_that_ends_while_anything_is_wanted() -> None:
    house = House()
    heard: list[Lease] = []
    wanted: set[str] = set()
    house.slots.on_free(heard.append, wanted)
    house.take().release()
    assert heard == []
    wanted.add("gpu")
    lease = house.take()
    lease.release()
    lease.release()
    assert heard == [lease]


def test_how_long_leases_are_held_is_known_and_the_latest_counts_most() -> None:
    house = House()
    assert house.slots.mean_s("gpu") is None
    for held_s, mean_s in ((10, 10), (20, 12), (7, 11)):
        lease = house.take()
        house.clock.pass_by(held_s)
        lease.release()
        assert house.slots.mean_s("gpu") == pytest.approx(mean_s)
    house.registry.load(())
    assert house.slots.mean_s("gpu") is None


def test_a_lease_of_before_counts_for_a_provider_that_has_come_back() -> None:
    house = House()
    lease = house.take()
    house.registry.load(())
    assert house.slots.mean_s("gpu") is None
    house.reload(1)
    assert house.gpu.active == 1
    assert house.slots.try_lease(house.ask()) is None
    lease.release()
    assert house.gpu.active == 0
    house.take()


def test_a_candidate_of_before_is_counted_for_the_provider_there_is_now() -> None:
    house = House(max_concurrent=2)
    before = house.ask()
    house.reload(2, kind="ollama")
    lease = house.slots.try_lease(before)
    assert lease is not None
    assert house.gpu.active == 1
    lease.release()
    assert house.gpu.active == 0


def test_the_model_asked_for_last_is_known() -> None:
    house = House()
    assert house.slots.latest_model("gpu") is None
    house.take("llama").release()
    assert house.slots.latest_model("gpu") == "llama"
