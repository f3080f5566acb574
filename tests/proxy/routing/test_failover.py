from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from providers.base import FoundModel
from providers.errors import Blame, Fault
from proxy.config import Timeouts
from proxy.config.schema_providers import Wake
from proxy.core.errors import CallerFault, GatewayError, ProviderFault
from proxy.routing.failover import (
    LONGEST_PAUSE_S,
    Failover,
    Next,
    Rouse,
    Route,
    Step,
    Stop,
)
from proxy.routing.model import Candidate
from proxy.routing.outcome import LEFT, Ending, Outcome, of_fault
from proxy.routing.registry import Status
from proxy.routing.retries import FLOOR, RetryBudget
from tests.fakes.hand_clock import HandClock
from tests.fakes.kinds import provider

CODES = {
    Ending.UNREACHABLE: "upstream_error",
    Ending.TIMED_OUT: "upstream_timeout",
    Ending.LOADING: "model_loading",
    Ending.RATE_LIMITED: "upstream_rate_limited",
    Ending.KEY_REFUSED: "upstream_auth_failed",
    Ending.TOO_LONG: "context_length_exceeded",
    Ending.CALLER: "invalid_field",
    Ending.NOT_THERE: "model_not_found",
}
GOING_ON = [
    Ending.UNREACHABLE, Ending.BROKEN, Ending.OVERLOADED, Ending.FAILED,
    Ending.LOADING, Ending.RATE_LIMITED, Ending.KEY_REFUSED, Ending.NOT_THERE,
]  # fmt: skip


def ended(ending: Ending, retry_after_s: float | None = None, **more: Any) -> Outcome:
    code = CODES.get(ending, "upstream_error")
    kind = CallerFault if ending in (Ending.CALLER, Ending.TOO_LONG) else ProviderFault
    error = kind(code, ending.value, retry_after_s=retry_after_s)
    return Outcome(ending, error, None, retry_after_s, **more)


def place(id_: str, model: str = "m", **more: Any) -> Candidate:
    found = more.pop("found", FoundModel(model))
    return Candidate(provider(id_, found, **more), model, found=found)


class Bench:
    """A request's failover, and the clock it goes by."""

    def __init__(
        self,
        *candidates: Candidate,
        fallbacks: Sequence[Candidate] = (),
        context_fallbacks: Sequence[Candidate] = (),
        shut: Sequence[Candidate] = (),
        come: Sequence[Candidate] = (),
        patience_s: float = 0.0,
        ratio: float = 0.2,
    ) -> None:
        self.clock = HandClock()
        self.budget = RetryBudget(ratio, self.clock)
        self.asked_for_fallbacks = 0
        self.fallbacks = tuple(fallbacks)
        route = Route(
            candidates,
            self._fallbacks,
            lambda: tuple(context_fallbacks),
            lambda candidate: candidate not in shut,
            lambda: tuple(come),
        )
        self.failover = Failover(
            route,
            self.budget,
            backoff_s=1.0,
            started_at=self.clock.now,
            wait_until=self.clock.now + patience_s,
            now=self.clock,
            jitter=lambda: 0.5,
        )

    def _fallbacks(self) -> tuple[Candidate, ...]:
        self.asked_for_fallbacks += 1
        return self.fallbacks

    def after(
        self,
        tried: Candidate,
        ending: Ending,
        retry_after_s: float | None = None,
        key: int = 0,
    ) -> Step:
        return self.failover.after(tried, ended(ending, retry_after_s), key)


def stopped(step: Step) -> GatewayError:
    assert isinstance(step, Stop)
    return step.error


A, B, C, D = place("a"), place("b"), place("c"), place("d")


@pytest.mark.parametrize("ending", GOING_ON)
def test_the_next_candidate_is_asked_at_once(ending: Ending) -> None:
    bench = Bench(A, B)
    assert bench.after(A, ending) == Next(B)
    assert bench.asked_for_fallbacks == 0


@pytest.mark.parametrize("ending", [Ending.CALLER, Ending.CUT])
def test_the_callers_own_fault_and_a_cut_reply_end_it(ending: Ending) -> None:
    step = Bench(A, B, fallbacks=[C]).after(A, ending)
    assert stopped(step).message == ending.value


def test_who_has_left_is_not_served_elsewhere() -> None:
    error = ProviderFault("upstream_error", "gone")
    step = Bench(A, B).failover.after(A, Outcome(LEFT.ending, error))
    assert stopped(step) is error


def test_a_body_that_is_spent_cannot_be_sent_again() -> None:
    outcome = ended(Ending.OVERLOADED, spent=True)
    assert stopped(Bench(A, B).failover.after(A, outcome)) is outcome.error


# -- the same once more ------------------------------------------------------------------


@pytest.mark.parametrize("ending", [Ending.BROKEN, Ending.OVERLOADED])
def test_the_only_candidate_is_asked_once_more_after_a_pause(ending: Ending) -> None:
    bench = Bench(A)
    assert bench.after(A, ending) == Next(A, 1.0, why="retry")
    assert stopped(bench.after(A, ending)).message == ending.value


@pytest.mark.parametrize(
    "ending", [Ending.UNREACHABLE, Ending.FAILED, Ending.TIMED_OUT, Ending.NOT_THERE]
)
def test_what_would_only_repeat_itself_is_not_asked_again(ending: Ending) -> None:
    assert stopped(Bench(A).after(A, ending)).message == ending.value


def test_of_two_that_failed_neither_is_asked_again() -> None:
    bench = Bench(A, B)
    bench.after(A, Ending.BROKEN)
    assert isinstance(bench.after(B, Ending.BROKEN), Stop)


def test_a_retry_waits_as_long_as_it_is_asked_to_if_that_is_short() -> None:
    step = Bench(A).after(A, Ending.OVERLOADED, 3.0)
    assert step == Next(A, 3.0, why="retry")
    long = LONGEST_PAUSE_S + 1
    assert stopped(Bench(A).after(A, Ending.OVERLOADED, long)).retry_after_s == long


def test_a_used_up_budget_allows_no_retry() -> None:
    bench = Bench(A)
    for _ in range(FLOOR):
        assert bench.budget.try_retry("a")
    assert isinstance(bench.after(A, Ending.BROKEN), Stop)


@pytest.mark.parametrize(
    "candidate",
    [place("a", found=FoundModel("m", warm=False)), place("a", health=Status.LOADING)],
)
def test_no_retry_begins_a_load_again(candidate: Candidate) -> None:
    assert isinstance(Bench(candidate).after(candidate, Ending.BROKEN), Stop)
    step = Bench(candidate).after(candidate, Ending.OVERLOADED)
    assert isinstance(step, Next)


# -- no host twice -----------------------------------------------------------------------


def test_a_host_that_failed_is_not_asked_under_another_name() -> None:
    twin = place("twin", endpoint=A.provider.config.endpoint)
    assert Bench(A, twin, B).after(A, Ending.UNREACHABLE) == Next(B)
    other_model = place("twin", "n", endpoint=A.provider.config.endpoint)
    bench = Bench(A, fallbacks=[other_model, B])
    assert bench.after(A, Ending.UNREACHABLE) == Next(B, why="fallback")


def test_names_of_this_machine_are_one_host() -> None:
    one = place("one", endpoint="http://127.0.0.1:8000/v1")
    two = place("two", endpoint="http://localhost:8000")
    assert Bench(one, two, B).after(one, Ending.BROKEN) == Next(B)


def test_the_same_question_goes_to_a_host_once_but_another_model_may() -> None:
    twin = place("twin", endpoint=A.provider.config.endpoint)
    small = place("a", "small", endpoint=A.provider.config.endpoint)
    bench = Bench(A, twin, fallbacks=[small])
    assert bench.after(A, Ending.RATE_LIMITED) == Next(small, why="fallback")


def test_another_account_at_the_same_cloud_is_another_question() -> None:
    url = "https://api.example"
    one = place("one", kind="openai", endpoint=url, keys=("k1",))
    two = place("two", kind="openai", endpoint=url, keys=("k2",))
    assert Bench(one, two).after(one, Ending.RATE_LIMITED) == Next(two)
    assert isinstance(Bench(one, two).after(one, Ending.UNREACHABLE), Stop)


def test_who_is_shut_or_has_gone_meanwhile_is_passed_over() -> None:
    gone = place("gone", health=Status.OFFLINE)
    assert Bench(A, B, gone, C, shut=[B]).after(A, Ending.BROKEN) == Next(C)


# -- keys --------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [Ending.RATE_LIMITED, Ending.KEY_REFUSED])
def test_the_next_key_comes_before_the_next_candidate(ending: Ending) -> None:
    keyed = place("keyed", keys=("k1", "k2"))
    bench = Bench(keyed, B)
    assert bench.after(keyed, ending) == Next(keyed, key=1, why="next key")
    assert bench.after(keyed, ending, key=1) == Next(B)


# -- fallbacks ---------------------------------------------------------------------------


def test_fallbacks_come_after_all_candidates_and_are_asked_for_once() -> None:
    bench = Bench(A, B, fallbacks=[C, D])
    assert bench.after(A, Ending.UNREACHABLE) == Next(B)
    step = bench.after(B, Ending.UNREACHABLE)
    assert step == Next(C, why="fallback", others=(D,))
    assert isinstance(bench.after(C, Ending.UNREACHABLE), Next)
    assert bench.asked_for_fallbacks == 1


def test_no_retry_follows_once_fallbacks_are_tried() -> None:
    bench = Bench(A, fallbacks=[B])
    assert bench.after(A, Ending.UNREACHABLE) == Next(B, why="fallback")
    assert isinstance(bench.after(B, Ending.BROKEN), Stop)


def test_who_answers_too_late_is_followed_by_a_fallback_alone() -> None:
    assert stopped(Bench(A, B).after(A, Ending.TIMED_OUT)).code == "upstream_timeout"
    step = Bench(A, B, fallbacks=[C]).after(A, Ending.TIMED_OUT)
    assert step == Next(C, why="fallback")


def test_too_long_goes_to_the_context_fallbacks_alone_even_at_the_same_host() -> None:
    wide = place("a", "wide", endpoint=A.provider.config.endpoint)
    bench = Bench(A, B, fallbacks=[C], context_fallbacks=[wide])
    assert bench.after(A, Ending.TOO_LONG) == Next(wide)
    assert stopped(Bench(A, B, fallbacks=[C]).after(A, Ending.TOO_LONG)).status == 400


def test_others_may_be_asked_where_the_next_has_no_slot() -> None:
    bench = Bench(A, B, C)
    assert bench.after(A, Ending.UNREACHABLE) == Next(B, others=(C,))
    assert bench.after(C, Ending.UNREACHABLE) == Next(B), "it has not been asked yet"


def test_who_has_come_up_since_is_asked_before_the_same_or_a_fallback() -> None:
    bench = Bench(A, fallbacks=[C], come=[A, B])
    assert bench.after(A, Ending.OVERLOADED) == Next(B)
    assert bench.after(B, Ending.OVERLOADED) == Next(C, why="fallback")


@pytest.mark.parametrize("ending", [Ending.TIMED_OUT, Ending.TOO_LONG])
def test_it_is_not_where_no_other_of_the_model_is_to_be_asked(ending: Ending) -> None:
    assert isinstance(Bench(A, come=[B]).after(A, ending), Stop)


def test_who_waits_for_one_that_goes_away_is_sent_on() -> None:
    bench = Bench(A, B, C, fallbacks=[D])
    step = bench.after(A, Ending.OVERLOADED)
    assert isinstance(step, Next)
    still = bench.failover.still
    assert still(step, lambda c: c is not C) == (B, C)
    assert still(step, lambda c: c is not B) == (C,)
    assert still(step, lambda c: c is D) == (D,)
    with pytest.raises(GatewayError) as told:
        still(step, lambda _: False)
    assert told.value.code == "upstream_error"


# -- loading and limits ------------------------------------------------------------------


def test_a_loading_model_is_asked_until_its_first_byte_is_due() -> None:
    slow = place("slow", timeouts=Timeouts(first_byte=30.0))
    bench = Bench(slow)
    pauses = []
    step = bench.after(slow, Ending.LOADING)
    while isinstance(step, Next):
        assert step.candidate is slow
        pauses.append(step.delay_s)
        bench.clock.pass_by(step.delay_s)
        step = bench.after(slow, Ending.LOADING)
    assert stopped(step).code == "model_loading"
    assert sum(pauses) == pytest.approx(30.0)
    assert pauses[:3] == [pytest.approx(p) for p in (1.1, 2.2, 4.4)]
    assert max(pauses) <= 10.0


def test_another_candidate_is_better_than_one_that_loads() -> None:
    bench = Bench(A, B)
    assert bench.after(A, Ending.LOADING) == Next(B)
    step = bench.after(B, Ending.UNREACHABLE)
    assert isinstance(step, Next)
    assert (step.candidate, step.why) == (A, "it is loading")


def test_one_that_breaks_while_it_loads_is_not_made_to_load_again() -> None:
    loading = place("a", health=Status.LOADING)
    bench = Bench(loading)
    assert isinstance(bench.after(loading, Ending.LOADING), Next)
    assert isinstance(bench.after(loading, Ending.BROKEN), Stop)


def test_all_limited_is_told_with_the_earliest_end() -> None:
    bench = Bench(A, B)
    bench.after(A, Ending.RATE_LIMITED, 20.0)
    bench.clock.pass_by(5.0)
    error = stopped(bench.after(B, Ending.RATE_LIMITED, 60.0))
    assert (error.code, error.retry_after_s) == ("upstream_rate_limited", 15.0)


def test_a_limit_is_waited_for_if_the_caller_may_wait_so_long() -> None:
    bench = Bench(A, B, patience_s=30.0)
    bench.after(A, Ending.RATE_LIMITED, 20.0)
    step = bench.after(B, Ending.RATE_LIMITED, 60.0)
    assert step == Next(A, pytest.approx(20.5), why="its rate limit is over")
    bench.clock.pass_by(20.5)
    assert isinstance(bench.after(A, Ending.RATE_LIMITED, 20.0), Stop)


def test_what_is_told_is_the_most_hopeful_of_what_was_seen() -> None:
    bench = Bench(A, B, C)
    bench.after(A, Ending.RATE_LIMITED, 7.0)
    bench.after(B, Ending.FAILED)
    assert stopped(bench.after(C, Ending.UNREACHABLE)).code == "upstream_rate_limited"


def test_one_that_lacks_the_model_does_not_hide_that_another_is_down() -> None:
    bench = Bench(A, B)
    bench.after(A, Ending.NOT_THERE)
    assert stopped(bench.after(B, Ending.UNREACHABLE)).code == "upstream_error"


# -- waking ------------------------------------------------------------------------------


def test_a_machine_that_may_sleep_is_woken_once_and_only_as_the_last_resort() -> None:
    asleep = place("a", wake=Wake(mac="aa:bb:cc:dd:ee:ff"))
    bench = Bench(asleep, B)
    assert bench.after(asleep, Ending.UNREACHABLE) == Next(B)
    step = bench.after(B, Ending.UNREACHABLE)
    assert isinstance(step, Rouse)
    assert step.candidate is asleep
    assert isinstance(bench.after(asleep, Ending.UNREACHABLE), Stop)


def test_a_machine_that_answers_is_not_asleep() -> None:
    awake = place("a", wake=Wake(mac="aa:bb:cc:dd:ee:ff"))
    assert isinstance(Bench(awake).after(awake, Ending.FAILED), Stop)


# -- outcomes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "ending"),
    [
        (Fault(Blame.CALLER, 400, "no"), Ending.CALLER),
        (Fault(Blame.CALLER, 404, "no such model"), Ending.NOT_THERE),
        (Fault(Blame.CALLER, 410, "retired"), Ending.NOT_THERE),
        (
            Fault(Blame.CALLER, 400, "x", code="context_length_exceeded"),
            Ending.TOO_LONG,
        ),
        (Fault(Blame.KEY, 401, "no"), Ending.KEY_REFUSED),
        (Fault(Blame.RATE, 429, "slow", retry_after_s=3.0), Ending.RATE_LIMITED),
        (Fault(Blame.LOADING, 503, "loading"), Ending.LOADING),
        (Fault(Blame.OVERLOADED, 529, "busy"), Ending.OVERLOADED),
        (Fault(Blame.BROKEN, 502, "bad"), Ending.BROKEN),
        (Fault(Blame.BROKEN, 504, "late"), Ending.BROKEN),
        (Fault(Blame.BROKEN, 500, "oops"), Ending.FAILED),
        (Fault(Blame.BROKEN, 402, "no credit"), Ending.FAILED),
    ],
)
def test_a_fault_that_was_read_is_an_ending(fault: Fault, ending: Ending) -> None:
    error = ProviderFault("upstream_error", "x")
    outcome = of_fault(fault, error)
    assert (outcome.ending, outcome.status) == (ending, fault.status)
    assert outcome.retry_after_s == fault.retry_after_s
    assert outcome.error is error


def test_an_address_that_is_lacking_is_gone_round_at_the_same_provider() -> None:
    first, second = place("a", kind="vllm"), place("b", kind="vllm")
    bench = Bench(first, second)
    outcome = ended(Ending.NOT_THERE, absent="responses")
    first.provider.absent.add(("m", "responses"))
    assert bench.failover.after(first, outcome) == Next(first, why="by another route")
    # Once: it may lie, and somebody else is there.
    assert bench.failover.after(first, outcome) == Next(second)


def test_an_address_that_was_gone_round_is_not_what_the_caller_is_told_of() -> None:
    first = place("a", kind="vllm", wake=Wake(mac="aa:bb:cc:dd:ee:ff"))
    first.provider.absent.add(("m", "responses"))
    bench = Bench(first)
    step = bench.failover.after(first, ended(Ending.NOT_THERE, absent="responses"))
    assert isinstance(step, Next)
    assert bench.failover.still(step, lambda _: False) == (), "the queue knows why"
    step = bench.after(first, Ending.UNREACHABLE)
    assert isinstance(step, Rouse), "it has gone to sleep since"


@pytest.mark.parametrize("operation", ["rerank", "count_tokens"])
def test_who_knows_no_other_way_is_not_asked_again(operation: str) -> None:
    first, second = place("a", kind="vllm"), place("b", kind="vllm")
    first.provider.absent.add(("m", operation))
    outcome = ended(Ending.NOT_THERE, absent=operation)
    assert Bench(first, second).failover.after(first, outcome) == Next(second)
