from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxy.config import ProviderConfig
from proxy.core.errors import ProviderFault
from proxy.core.tasks import Tasks
from proxy.routing.breaker import FIRST_COOLDOWN_S, THRESHOLD, Breaker, Circuit
from proxy.routing.health import KEY_REFUSED, Health
from proxy.routing.keys import KeyRing
from proxy.routing.model import Candidate
from proxy.routing.outcome import ANSWERED, LEFT, Ending, Outcome
from proxy.routing.registry import Finding, Registry, Status
from proxy.routing.traffic import Traffic
from proxy.state.memory import MemoryState
from tests.fakes.fetch import World
from tests.fakes.hand_clock import HandClock
from tests.fakes.kinds import KINDS

BASE = "http://spark.lan:8000"
NOBODYS_FAULT = [
    Ending.CALLER, Ending.TOO_LONG, Ending.NOT_THERE, Ending.RATE_LIMITED,
    Ending.KEY_REFUSED, Ending.LOADING,
]  # fmt: skip


class Bench:
    def __init__(self, tasks: Tasks, **config: Any) -> None:
        self.clock, self.world = HandClock(), World()
        spark = ProviderConfig(id="spark", kind="vllm", endpoint=BASE, **config)
        self.registry = Registry([spark], KINDS)
        self.provider = self.registry.providers[0]
        self.registry.report(self.provider, Finding(Status.ONLINE))
        state = MemoryState(self.clock)
        self.cooldowns = state.cooldowns
        self.breaker = Breaker(state.cooldowns, self.clock)
        self.health = Health(
            self.registry, lambda _: self.world, tasks, now=self.clock, jitter=lambda: 0
        )
        self.traffic = Traffic(
            self.breaker, KeyRing(state.cooldowns), self.health, self.registry.lacks
        )
        self.qwen = Candidate(self.provider, "qwen")
        self.llama = Candidate(self.provider, "llama")

    def ended(self, ending: Ending, **more: Any) -> None:
        outcome = Outcome(ending, ProviderFault("upstream_error", "it failed"), **more)
        self.traffic.ended(self.qwen, outcome)

    def fail(self, ending: Ending, times: int = THRESHOLD) -> None:
        for _ in range(times):
            self.ended(ending)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Tasks(_raise) as tasks:
        yield Bench(tasks)


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("ending", NOBODYS_FAULT)
def test_what_is_nobodys_fault_never_opens_a_circuit(
    bench: Bench, ending: Ending
) -> None:
    bench.fail(ending, 3 * THRESHOLD)
    assert bench.breaker.state(bench.qwen.where) is Circuit.CLOSED
    assert bench.breaker.quiet
    assert bench.provider.usable


@pytest.mark.parametrize(
    "ending", [Ending.BROKEN, Ending.OVERLOADED, Ending.FAILED, Ending.CUT]
)
def test_failures_of_a_model_count_against_it_alone(
    bench: Bench, ending: Ending
) -> None:
    bench.fail(ending)
    assert not bench.breaker.allows(bench.qwen.where)
    assert bench.breaker.allows(bench.llama.where)
    assert bench.breaker.allows(bench.qwen.whole)
    assert bench.provider.status is Status.ONLINE


def test_failed_connections_count_against_the_whole_provider(bench: Bench) -> None:
    bench.fail(Ending.UNREACHABLE)
    assert not bench.breaker.allows(bench.llama.whole)
    assert bench.breaker.allows(bench.qwen.where)
    assert bench.provider.status is Status.OFFLINE


def test_a_local_server_that_refuses_a_request_is_out_of_use_at_once(
    bench: Bench,
) -> None:
    bench.ended(Ending.UNREACHABLE)
    assert (bench.provider.status, bench.provider.last_error) == (
        Status.OFFLINE,
        "it failed",
    )


def test_a_served_request_ends_doubts_about_the_provider(bench: Bench) -> None:
    bench.ended(Ending.UNREACHABLE)
    bench.traffic.ended(bench.qwen, ANSWERED)
    assert bench.provider.status is Status.ONLINE


def test_one_request_probes_and_its_end_decides(bench: Bench) -> None:
    bench.fail(Ending.BROKEN)
    bench.clock.pass_by(FIRST_COOLDOWN_S)
    assert bench.traffic.try_begin(bench.qwen)
    assert not bench.traffic.try_begin(bench.qwen)
    assert bench.traffic.try_begin(bench.llama)
    bench.traffic.ended(bench.qwen, LEFT)
    assert bench.traffic.try_begin(bench.qwen)
    bench.traffic.answered(bench.qwen)
    assert bench.breaker.quiet


def test_a_model_that_is_not_let_in_gives_the_providers_probe_back(
    bench: Bench,
) -> None:
    bench.fail(Ending.UNREACHABLE)
    bench.clock.pass_by(FIRST_COOLDOWN_S - 1)
    bench.fail(Ending.BROKEN)
    bench.fail(Ending.UNREACHABLE)
    bench.clock.pass_by(1)
    assert not bench.traffic.try_begin(bench.qwen)
    assert bench.traffic.try_begin(bench.llama)


def test_any_answer_shows_that_the_provider_is_there(bench: Bench) -> None:
    bench.fail(Ending.UNREACHABLE)
    bench.clock.pass_by(FIRST_COOLDOWN_S)
    assert bench.traffic.try_begin(bench.qwen)
    bench.ended(Ending.CALLER)
    assert bench.breaker.state(bench.qwen.whole) is Circuit.CLOSED


def test_a_rate_limit_rests_that_model_there_as_long_as_it_says(bench: Bench) -> None:
    bench.ended(Ending.RATE_LIMITED, retry_after_s=42.0)
    assert bench.cooldowns.remaining_s(bench.qwen.where) == 42.0
    bench.ended(Ending.RATE_LIMITED, retry_after_s=3.0)
    assert bench.cooldowns.remaining_s(bench.qwen.where) == 42.0
    assert bench.cooldowns.remaining_s(bench.llama.where) == 0.0


def test_a_refused_key_is_shown_as_such_and_is_no_outage(bench: Bench) -> None:
    bench.ended(Ending.KEY_REFUSED, status=403)
    assert bench.provider.last_error is None
    bench.ended(Ending.KEY_REFUSED, status=401)
    assert (bench.provider.status, bench.provider.last_error) == (
        Status.DEGRADED,
        "key refused",
    )


async def test_a_callers_own_refused_credential_says_nothing_of_ours() -> None:
    async with Tasks(_raise) as tasks:
        bench = Bench(tasks, forward_auth=True)
        bench.ended(Ending.KEY_REFUSED, status=401)
        assert bench.provider.status is Status.ONLINE


def test_a_loading_server_is_shown_as_such(bench: Bench) -> None:
    bench.ended(Ending.LOADING)
    assert bench.provider.status is Status.LOADING


async def test_a_reply_that_broke_has_the_provider_looked_at_soon(
    bench: Bench,
) -> None:
    await bench.health.check(bench.provider)
    bench.registry.report(bench.provider, Finding(Status.ONLINE))
    asked = len(bench.world.asked)
    bench.ended(Ending.BROKEN)
    bench.clock.pass_by(1.0)
    bench.health.tick(bench.clock.now)
    await bench.health.check(bench.provider)
    assert len(bench.world.asked) > asked
    assert bench.provider.status is Status.OFFLINE


async def test_a_provider_that_is_up_again_serves_at_once(bench: Bench) -> None:
    bench.fail(Ending.UNREACHABLE)
    bench.fail(Ending.BROKEN)
    bench.world.serve(BASE, "vllm", "qwen")
    await bench.health.check(bench.provider)
    assert bench.provider.status is Status.ONLINE
    assert bench.breaker.allows(bench.qwen.whole)
    assert bench.cooldowns.remaining_s(bench.qwen.whole) == 0.0
    assert not bench.breaker.allows(bench.qwen.where)


async def test_what_was_lacking_may_be_there_after_an_outage(bench: Bench) -> None:
    bench.ended(Ending.NOT_THERE, absent="responses")
    assert bench.qwen.lacks("responses")
    assert not bench.llama.lacks("responses")
    bench.fail(Ending.UNREACHABLE)
    bench.world.serve(BASE, "vllm", "qwen")
    await bench.health.check(bench.provider)
    assert not bench.qwen.lacks("responses")


@pytest.mark.parametrize("ending", [e for e in Ending if e is not Ending.UNREACHABLE])
def test_what_passes_as_it_is_opens_no_circuit(bench: Bench, ending: Ending) -> None:
    for _ in range(3 * THRESHOLD):
        error = ProviderFault("upstream_error", "it failed")
        bench.traffic.passed_on(bench.provider, Outcome(ending, error))
    assert bench.breaker.quiet
    assert not bench.cooldowns.remaining_s(bench.qwen.where)


def test_what_cannot_be_passed_on_takes_a_local_server_out_of_use(bench: Bench) -> None:
    gone = Outcome(Ending.UNREACHABLE, ProviderFault("upstream_error", "it failed"))
    for _ in range(THRESHOLD):
        bench.traffic.passed_on(bench.provider, gone)
    assert bench.provider.status is Status.OFFLINE
    assert not bench.breaker.allows(bench.qwen.whole)
    bench.clock.pass_by(FIRST_COOLDOWN_S)
    bench.traffic.passed_on(bench.provider, ANSWERED)
    assert bench.provider.status is Status.ONLINE
    assert bench.breaker.quiet


def test_a_key_that_is_refused_on_the_way_through_is_told(bench: Bench) -> None:
    refused = Outcome(Ending.KEY_REFUSED, status=401)
    bench.traffic.passed_on(bench.provider, refused)
    assert bench.provider.last_error == KEY_REFUSED
