from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from providers.base import FoundModel
from proxy.core.tasks import Tasks
from proxy.routing.health import Health
from proxy.routing.registry import Finding, Registry
from proxy.routing.rounds import Rounds, name_of
from proxy.routing.status import Sign, Status
from tests.fakes.fetch import Clock, World
from tests.fakes.kinds import KINDS
from tests.fakes.turns import FakeTurns
from tests.proxy.routing.test_health import BASE, Bench, settle, spark

FINDING = Finding(
    Status.ONLINE,
    models=(FoundModel("tiny", warm=True, capabilities=frozenset({"tools"})),),
    slots=3,
    latency_s=0.5,
)
PAUSE_S = 30.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(clock: Clock) -> FakeTurns:
    return FakeTurns(clock)


@pytest.fixture
async def benches(turns: FakeTurns, clock: Clock) -> AsyncIterator[list[Bench]]:
    """Two processes, each with its own way to one provider."""

    def complain(error: BaseException) -> None:
        raise error

    async with Tasks(complain) as tasks:
        benches = []
        for _ in range(2):
            registry, world = Registry([spark()], KINDS), World()
            world.serve(BASE, "vllm", "tiny")
            health = Health(
                registry,
                lambda _, world=world: world,  # type: ignore[misc]
                tasks,
                now=clock,
                jitter=lambda: 0.0,
            )
            health.share(Rounds(turns))
            benches.append(Bench(registry, health, world, clock))
        yield benches


async def tick(benches: list[Bench], seconds: float) -> list[int]:
    """Let time pass; answers how often each has asked since."""
    before = [len(bench.world.asked) for bench in benches]
    benches[0].clock.at += seconds
    for bench in benches:
        bench.health.tick(bench.clock.at)
        await settle()
    pairs = zip(benches, before, strict=True)
    return [len(bench.world.asked) - count for bench, count in pairs]


async def test_what_one_saw_the_others_know(turns: FakeTurns) -> None:
    one, other = Rounds(turns), Rounds(turns)
    assert await one.ask(spark(), PAUSE_S) is True
    assert await other.ask(spark(), PAUSE_S) is False
    await one.end(spark(), PAUSE_S, FINDING)
    assert await other.ask(spark(), PAUSE_S) == FINDING
    turns.seen[name_of(spark())] = (turns.now(), b"nonsense")
    assert await other.ask(spark(), PAUSE_S) is True


def test_only_what_is_the_same_has_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    at_home = replace(spark(), endpoint="http://127.0.0.1:8000")
    names = {name_of(spark()), name_of(at_home), name_of(spark(priority=7))}
    assert len(names) == 3
    assert name_of(spark()) == name_of(spark())
    monkeypatch.setattr("platform.node", lambda: "another machine")
    assert name_of(spark()) in names
    assert name_of(at_home) not in names


async def test_of_several_processes_one_asks(benches: list[Bench]) -> None:
    for bench in benches:
        await bench.look()
    one, other = await tick(benches, PAUSE_S + 1)
    assert one > 0
    assert other == 0
    assert benches[1].provider.status is Status.ONLINE
    benches[0].world.serve(BASE, "vllm", "tiny", "large")
    await tick(benches, PAUSE_S + 1)
    assert len(benches[1].provider.models) == 2


async def test_what_failed_here_is_looked_at_from_here(benches: list[Bench]) -> None:
    for bench in benches:
        await bench.look()
    await tick(benches, PAUSE_S + 1)
    benches[1].health.failed(benches[1].provider, Sign.GONE, "refused")
    _, other = await tick(benches, 3)
    assert other > 0
    assert benches[1].provider.status is Status.ONLINE


async def test_who_gets_no_answer_tells_nobody(
    benches: list[Bench], turns: FakeTurns
) -> None:
    for bench in benches:
        await bench.look()
    benches[0].world.remove(BASE)
    one, other = await tick(benches, PAUSE_S + 1)
    assert min(one, other) > 0
    assert benches[0].provider.status is Status.OFFLINE
    assert benches[1].provider.status is Status.ONLINE
    assert not turns.looks


async def test_while_one_looks_the_others_come_back_later(
    benches: list[Bench], turns: FakeTurns
) -> None:
    for bench in benches:
        await bench.look()
    turns.looks.add(name_of(spark()))
    assert await tick(benches, PAUSE_S + 1) == [0, 0]
    turns.looks.clear()
    one, other = await tick(benches, 1)
    assert one > 0
    assert other == 0
