from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from proxy.config import ProviderConfig
from proxy.core.call import Fetched, FetchFailed
from proxy.core.tasks import Tasks
from proxy.routing.health import CLOUD_PAUSE_S, Health
from proxy.routing.registry import Provider, Registry
from proxy.routing.status import Sign, Status
from tests.fakes.fetch import Clock, World, answer
from tests.fakes.kinds import KINDS

BASE = "http://spark.lan:8000"
CLOUD = "https://api.openai.com"


def spark(**more: object) -> ProviderConfig:
    return ProviderConfig(id="spark", kind="vllm", endpoint=BASE, **more)  # type: ignore[arg-type]


def openai() -> ProviderConfig:
    return ProviderConfig(
        id="openai", kind="openai", type="cloud", endpoint=CLOUD, keys=("sk-1",)
    )


@dataclass
class Bench:
    """A registry of one provider, its health, a world and a clock."""

    registry: Registry
    health: Health
    world: World
    clock: Clock
    faults: list[BaseException] = field(default_factory=list)

    @property
    def provider(self) -> Provider:
        return self.registry.providers[0]

    async def look(self) -> Provider:
        await self.health.check(self.provider)
        return self.provider

    async def tick(self, seconds: float = 0.0) -> None:
        self.clock.at += seconds
        self.health.tick(self.clock.at)
        await settle()


async def settle() -> None:
    """Let what can run without time passing run."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    async with Tasks(_raise) as group:
        yield group


def _raise(error: BaseException) -> None:
    raise error


def bench(tasks: Tasks, config: ProviderConfig, jitter: float = 0.0) -> Bench:
    registry, world, clock = Registry([config], KINDS), World(), Clock()
    health = Health(registry, lambda _: world, tasks, now=clock, jitter=lambda: jitter)
    return Bench(registry, health, world, clock)


async def test_answering_server_is_online_with_its_models(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    at.world.serve(BASE, "vllm", "qwen", "llama", slots=3)
    provider = await at.look()
    assert provider.status is Status.ONLINE
    assert [m.id for m in provider.models] == ["qwen", "llama"]
    assert provider.slots == 3
    assert provider.latency_s == pytest.approx(0.01)
    assert provider.last_error is None


async def test_only_what_the_adapter_names_is_asked(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    at.world.serve(BASE, "vllm", "qwen")
    await at.look()
    assert at.world.asked == [("GET", BASE + "/alive"), ("GET", BASE + "/list")]


async def test_a_probe_that_serves_twice_is_asked_once(tasks: Tasks) -> None:
    at = bench(tasks, openai())
    at.world.serve(CLOUD, "openai", "gpt")
    provider = await at.look()
    assert provider.status is Status.ONLINE
    assert at.world.urls() == [CLOUD + "/list"]
    assert ("authorization", "Bearer sk-1") in at.world.headers[CLOUD + "/list"]


async def test_refused_connection_is_offline_and_keeps_models(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    at.world.serve(BASE, "vllm", "qwen")
    await at.look()
    at.world.remove(BASE)
    provider = await at.look()
    assert provider.status is Status.OFFLINE
    assert provider.last_error == "connection refused"
    assert [m.id for m in provider.models] == ["qwen"]


async def test_comes_back_online(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    assert (await at.look()).status is Status.OFFLINE
    at.world.serve(BASE, "vllm", "qwen")
    assert (await at.look()).status is Status.ONLINE


async def test_busy_server_is_degraded_before_it_is_offline(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    at.world.serve(BASE, "vllm", "qwen")
    await at.look()
    at.world.answers[BASE + "/alive"] = FetchFailed("timeout", "no answer within 5 s")
    seen = [(await at.look()).status for _ in range(3)]
    assert seen == [Status.DEGRADED, Status.DEGRADED, Status.OFFLINE]


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_one_that_answers_with_5xx_is_in_trouble_before_it_is_offline(
    tasks: Tasks, status: int
) -> None:
    """A cloud is asked once a minute: one bad answer must not shut it for so long."""
    at = bench(tasks, openai())
    at.world.serve(CLOUD, "openai", "gpt")
    await at.look()
    at.world.answers[CLOUD + "/list"] = answer({"error": "oops"}, status=status)
    seen = [(await at.look()).status for _ in range(3)]
    assert seen == [Status.DEGRADED, Status.DEGRADED, Status.OFFLINE]


async def test_a_refused_key_is_no_step_towards_offline(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    at.world.serve(BASE, "vllm", "qwen")
    await at.look()
    at.world.answers[BASE + "/list"] = answer({"error": "no"}, status=401)
    for _ in range(3):
        assert (await at.look()).status is Status.DEGRADED
    at.world.answers[BASE + "/alive"] = FetchFailed("timeout", "no answer within 5 s")
    assert (await at.look()).status is Status.DEGRADED, "the first without an answer"


async def test_server_never_seen_that_does_not_answer_is_offline(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    at.world.answers[BASE + "/alive"] = FetchFailed("timeout", "no answer within 5 s")
    assert (await at.look()).status is Status.OFFLINE


async def test_loading_server_is_loading_not_down(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    at.world.answers[BASE + "/alive"] = answer({"error": "loading"}, status=503)
    provider = await at.look()
    assert (provider.status, provider.last_error) == (Status.LOADING, None)


@pytest.mark.parametrize("place", ["/alive", "/list"])
async def test_refused_key_is_a_mistake_not_an_outage(tasks: Tasks, place: str) -> None:
    at = bench(tasks, spark())
    at.world.serve(BASE, "vllm", "qwen")
    at.world.answers[BASE + place] = answer({"error": "no"}, status=401)
    provider = await at.look()
    assert (provider.status, provider.last_error) == (Status.DEGRADED, "key refused")


async def test_status_200_of_another_shape_is_not_alive(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    at.world.answers[BASE + "/alive"] = answer(b"<html>Unexpected endpoint</html>")
    provider = await at.look()
    assert provider.status is Status.OFFLINE
    assert provider.last_error == "unexpected answer to the health check (status 200)"


async def test_unreadable_list_is_degraded_and_keeps_models(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    at.world.serve(BASE, "vllm", "qwen")
    await at.look()
    at.world.answers[BASE + "/list"] = answer({"kind": "something else"})
    provider = await at.look()
    assert provider.status is Status.DEGRADED
    assert [m.id for m in provider.models] == ["qwen"]


async def test_operators_own_health_path_is_judged_by_status(tasks: Tasks) -> None:
    at = bench(tasks, spark(health_check_path="/up"))
    at.world.serve(BASE, "vllm", "qwen")
    at.world.answers[BASE + "/up"] = answer(b"fine", status=204)
    assert (await at.look()).status is Status.ONLINE
    at.world.answers[BASE + "/up"] = answer(b"", status=500)
    assert (await at.look()).status is Status.DEGRADED
    at.world.answers[BASE + "/up"] = answer(b"", status=404)
    assert (await at.look()).status is Status.OFFLINE


async def test_one_question_in_flight(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    gate = at.world.answers[BASE + "/alive"] = asyncio.Event()
    first, second = at.health.check(at.provider), at.health.check(at.provider)
    assert first is second
    await at.tick(3600)
    assert at.world.urls() == [BASE + "/alive"]
    gate.set()
    await first
    assert at.provider.status is Status.OFFLINE


async def test_is_asked_again_after_its_interval(tasks: Tasks) -> None:
    at = bench(tasks, spark(health_check_interval=30.0))
    await at.tick()
    await at.tick(29.9)
    assert len(at.world.asked) == 1
    await at.tick(0.2)
    assert len(at.world.asked) == 2


async def test_jitter_only_lengthens_the_interval(tasks: Tasks) -> None:
    at = bench(tasks, spark(health_check_interval=30.0), jitter=1.0)
    await at.tick()
    await at.tick(35.9)
    assert len(at.world.asked) == 1
    await at.tick(0.2)
    assert len(at.world.asked) == 2


async def test_clouds_are_asked_once_a_minute_at_most(tasks: Tasks) -> None:
    at = bench(tasks, openai())
    await at.tick()
    await at.tick(CLOUD_PAUSE_S - 0.1)
    assert at.health.check_again() == []
    assert len(at.world.asked) == 1
    at.clock.at += 0.2
    assert len(at.health.check_again()) == 1


async def test_disabled_provider_is_left_alone(tasks: Tasks) -> None:
    at = bench(tasks, spark(enabled=False))
    await at.tick()
    assert at.world.asked == []
    assert at.provider.status is Status.DISABLED


async def test_rate_limited_cloud_is_asked_when_it_says(tasks: Tasks) -> None:
    at = bench(tasks, openai())
    at.world.serve(CLOUD, "openai", "gpt")
    await at.look()
    limited = answer({}, status=429, headers=(("retry-after", "600"),))
    at.world.answers[CLOUD + "/list"] = limited
    provider = await at.look()
    assert (provider.status, provider.last_error) == (Status.DEGRADED, "rate limited")
    assert [m.id for m in provider.models] == ["gpt"]
    asked = len(at.world.asked)
    await at.tick(599)
    assert at.health.check_again() == []
    assert len(at.world.asked) == asked
    await at.tick(2)
    assert len(at.world.asked) == asked + 1


async def test_a_defect_in_an_adapter_is_reported_and_asked_again() -> None:
    faults: list[BaseException] = []
    async with Tasks(faults.append) as tasks:
        at = bench(tasks, spark())
        at.world.answers[BASE + "/alive"] = answer({"kind": "vllm"})
        at.world.answers[BASE + "/list"] = answer({"kind": "vllm"})  # no `models`
        await at.tick()
        assert [type(fault) for fault in faults] == [KeyError]
        await at.tick(3600)
        assert len(faults) == 2


async def test_what_is_seen_of_a_former_address_is_not_believed(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    hangs = at.world.answers[BASE + "/alive"] = asyncio.Event()
    former = at.health.check(at.provider)
    await settle()
    at.world.serve("http://new.lan:1", "vllm", "qwen")
    at.registry.load([replace(spark(), endpoint="http://new.lan:1")])
    look = at.health.check(at.provider)
    assert look is not former
    await look
    assert at.provider.status is Status.ONLINE
    hangs.set()
    await former
    assert at.provider.status is Status.ONLINE
    assert at.provider.last_error is None


async def test_a_host_that_no_name_server_knows_is_gone(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    at.world.serve(BASE, "vllm", "qwen")
    await at.look()
    at.world.answers[BASE + "/alive"] = FetchFailed("unknown_host", "not known")
    assert (await at.look()).status is Status.OFFLINE


async def test_answering_later_than_half_its_time_is_degraded(tasks: Tasks) -> None:
    at = bench(tasks, spark(health_check_timeout=5.0))
    at.world.serve(BASE, "vllm", "qwen")
    at.world.answers[BASE + "/alive"] = late(2.6)
    provider = await at.look()
    assert (provider.status, provider.failures) == (Status.DEGRADED, 0)
    at.world.answers[BASE + "/alive"] = late(2.4)
    assert (await at.look()).status is Status.ONLINE


async def test_a_request_that_finds_nobody_makes_a_local_server_offline(
    tasks: Tasks,
) -> None:
    at = bench(tasks, spark())
    at.world.serve(BASE, "vllm", "qwen")
    provider = await at.look()
    at.health.failed(provider, Sign.GONE, "connection refused")
    assert (provider.status, provider.latency_s) == (Status.OFFLINE, 0.01)
    assert [m.id for m in provider.models] == ["qwen"]


async def test_a_cloud_that_refuses_one_connection_is_only_degraded(
    tasks: Tasks,
) -> None:
    at = bench(tasks, openai())
    at.world.serve(CLOUD, "openai", "gpt")
    provider = await at.look()
    seen = []
    for _ in range(3):
        at.health.failed(provider, Sign.GONE, "connection refused")
        seen.append(provider.status)
    assert seen == [Status.DEGRADED, Status.DEGRADED, Status.OFFLINE]


async def test_a_request_that_is_served_ends_the_doubt(tasks: Tasks) -> None:
    at = bench(tasks, spark())
    at.world.serve(BASE, "vllm", "qwen")
    provider = await at.look()
    heard: list[str] = []
    at.registry.on_change(lambda: heard.append("x"))
    at.health.answered(provider)
    assert heard == []
    at.health.failed(provider, Sign.FAILED, "it hung up")
    at.health.answered(provider)
    assert (provider.status, provider.failures) == (Status.ONLINE, 0)
    assert provider.last_error is None


async def test_who_has_just_failed_is_looked_at_soon_and_then_less_often(
    tasks: Tasks,
) -> None:
    at = bench(tasks, spark(health_check_interval=30.0))
    at.world.serve(BASE, "vllm", "qwen")
    await at.tick()
    at.world.remove(BASE)
    at.health.failed(at.provider, Sign.GONE, "connection refused")
    asked = len(at.world.asked)
    times = []
    for second in range(40):
        await at.tick(1.0)
        if len(at.world.asked) > asked:
            times.append(second + 1)
            asked = len(at.world.asked)
    assert times == [1, 3, 7, 15, 31]


async def test_a_cloud_is_not_asked_more_often_because_a_request_failed(
    tasks: Tasks,
) -> None:
    at = bench(tasks, openai())
    await at.tick()
    at.health.failed(at.provider, Sign.FAILED, "it hung up")
    await at.tick(CLOUD_PAUSE_S - 1)
    assert len(at.world.asked) == 1
    await at.tick(1)
    assert len(at.world.asked) == 2


async def test_a_loading_server_is_looked_at_every_few_seconds(tasks: Tasks) -> None:
    at = bench(tasks, spark(health_check_interval=30.0))
    at.health.failed(at.provider, Sign.LOADING, "loading")
    assert (at.provider.status, at.provider.last_error) == (Status.LOADING, None)
    at.world.answers[BASE + "/alive"] = answer({"error": "loading"}, status=503)
    for _ in range(4):
        await at.tick(5.0)
    assert len(at.world.asked) == 4


def late(seconds: float) -> Fetched:
    return replace(answer({"kind": "vllm"}), elapsed_s=seconds)
