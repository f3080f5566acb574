"""What routing keeps between requests, as one thing that outlives a reload."""

from __future__ import annotations

from proxy.config import Config, ModelConfig, ProviderConfig
from proxy.core.call import Fetch
from proxy.core.clock import Ticker
from proxy.core.tasks import Tasks
from proxy.routing.breaker import THRESHOLD, Circuit
from proxy.routing.catalog import Catalog, Resolution
from proxy.routing.dispatch import Dispatch, Hindrance
from proxy.routing.health import Health
from proxy.routing.model import Candidate
from proxy.routing.registry import Provider, Registry
from proxy.state.memory import MemoryState
from tests.fakes.kinds import CHAT, KINDS, provider

CONFIG = Config(models=(ModelConfig(id="tiny", provider_id="box"),))


class House:
    """A dispatch over providers made by hand."""

    def __init__(self, *providers: Provider, config: Config = CONFIG) -> None:
        self.registry = Registry((), KINDS)
        self.registry._providers = {one.id: one for one in providers}
        self.registry._changed()
        self.state = MemoryState()
        tasks = Tasks(_no_fault)
        health = Health(self.registry, _no_fetch, tasks)
        self.dispatch = Dispatch(
            self.registry, self.state, health, Ticker(), tasks, config
        )

    def catalog(self, config: Config = CONFIG) -> Catalog:
        return Catalog(config, self.registry.providers)

    def candidate(self) -> Candidate:
        return self.resolution().candidates[0]

    def resolution(self) -> Resolution:
        return self.catalog().resolve("tiny", CHAT)


def _no_fault(error: BaseException) -> None:
    raise AssertionError(error)


def _no_fetch(config: ProviderConfig) -> Fetch:
    raise AssertionError(f"{config.id} is asked")


def test_what_is_held_outlives_a_new_configuration() -> None:
    house = House(provider("box", max_concurrent=1))
    held = house.dispatch.queue.take((house.candidate(),))
    assert held is not None
    house.dispatch.load(Config(models=CONFIG.models))
    assert house.dispatch.queue.take((house.candidate(),)) is None
    held.release()
    assert house.dispatch.queue.take((house.candidate(),)) is not None


def test_limits_of_models_are_taken_from_each_configuration() -> None:
    house = House(provider("box"))
    limited = ModelConfig(id="tiny", provider_id="box", max_concurrent=1)
    house.dispatch.load(Config(models=(limited,)))
    assert house.dispatch.slots.capacity(house.candidate()) == 1
    house.dispatch.load(CONFIG)
    assert house.dispatch.slots.capacity(house.candidate()) is None


def test_a_broken_candidate_stays_broken_under_a_new_configuration() -> None:
    house = House(provider("box"))
    broken = house.candidate()
    for _ in range(THRESHOLD):
        house.dispatch.breaker.failed(broken.where)
    house.dispatch.load(CONFIG)
    assert not house.dispatch.chooser.is_open(broken)


def test_nothing_is_told_while_all_is_well() -> None:
    house = House(provider("box", "other"))
    assert house.dispatch.hindrances(house.catalog()) == ()


def test_what_is_left_alone_is_told_with_its_time() -> None:
    house = House(provider("box"), provider("spare", "m"))
    candidate, spare = house.candidate(), house.registry.get("spare")
    assert spare is not None
    for _ in range(THRESHOLD):
        house.dispatch.breaker.failed(candidate.where)
    [listed] = house.catalog().resolve("spare/m", CHAT).candidates
    house.state.cooldowns.start(listed.where, 60.0)
    found = {one.where: one for one in house.dispatch.hindrances(house.catalog())}
    assert set(found) == {candidate.where, listed.where}
    assert found[candidate.where].circuit is Circuit.OPEN
    assert 0 < found[candidate.where].remaining_s <= 5
    assert found[listed.where].circuit is Circuit.CLOSED
    assert 50 < found[listed.where].remaining_s <= 60


def test_one_to_be_tried_again_has_no_time_left() -> None:
    house = House(provider("box"))
    where = house.candidate().whole
    for _ in range(THRESHOLD):
        house.dispatch.breaker.failed(where)
    house.state.cooldowns.end(where)
    assert house.dispatch.hindrances(house.catalog()) == (
        Hindrance(where, Circuit.HALF_OPEN, 0.0),
    )
