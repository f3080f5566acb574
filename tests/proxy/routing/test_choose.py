from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from providers.base import FoundModel
from providers.wire.members import Members, read_members
from proxy.config import Config, ModelConfig
from proxy.config.schema_models import ModelCapabilities
from proxy.core.errors import CallerFault, ProviderFault
from proxy.core.types import Headers
from proxy.routing.affinity import Affinity, Marks, marks
from proxy.routing.breaker import FIRST_COOLDOWN_S, THRESHOLD, Breaker
from proxy.routing.catalog import Catalog, Resolution
from proxy.routing.choose import Chooser, Reason
from proxy.routing.model import Candidate
from proxy.routing.needs import Needs
from proxy.routing.registry import Provider, Status
from proxy.state.base import Where
from proxy.state.memory import MemoryState
from tests.fakes.hand_clock import HandClock
from tests.fakes.kinds import CHAT, EMBEDDINGS, RERANK, provider

BLIND = ModelCapabilities(vision=False)
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}


@dataclass
class Ask:
    """A request; `looked` counts how often somebody had to look into it."""

    members: Members
    session: str = ""
    looked: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return len(self.members.body)

    def needs(self) -> Needs:
        self.looked.append("needs")
        return Needs("chat", self.members)

    def marks(self) -> Marks:
        self.looked.append("marks")
        headers = Headers([("x-session-id", self.session)] if self.session else [])
        return marks("t", "m", headers, self.members)


def ask(text: str = "hello", session: str = "", **more: Any) -> Ask:
    body = {"messages": [{"role": "user", "content": text}], **more}
    return Ask(read_members(json.dumps(body).encode()), session)


def picture() -> Ask:
    return ask(messages=[{"role": "user", "content": [IMAGE]}])


@dataclass
class Bench:
    clock: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        self.state = MemoryState(self.clock)
        self.breaker = Breaker(self.state.cooldowns, self.clock)
        self.affinity = Affinity(self.state.affinity, self.clock)
        self.chooser = Chooser(self.breaker, self.state.cooldowns, self.affinity)

    def choose(self, resolution: Resolution, asked: Ask | None = None) -> list[str]:
        return ids(self.chooser.choose(resolution, asked or ask()))

    def break_down(self, where: Where) -> None:
        for _ in range(THRESHOLD):
            self.breaker.failed(where)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def ids(candidates: tuple[Candidate, ...]) -> list[str]:
    return [c.provider.id for c in candidates]


def catalog(*providers: Provider, models: tuple[ModelConfig, ...] = ()) -> Catalog:
    ordered = sorted(providers, key=lambda p: (p.config.priority, p.id))
    return Catalog(Config(models=models), ordered)


def resolve(*providers: Provider) -> Resolution:
    return catalog(*providers).resolve("m", CHAT)


def model(id_: str, at: str, **more: Any) -> ModelConfig:
    return ModelConfig(id=id_, provider_id=at, **more)


def test_one_candidate_and_all_well_looks_at_nothing(bench: Bench) -> None:
    asked, resolution = ask(), resolve(provider("a", "m"))
    assert bench.chooser.choose(resolution, asked) is resolution.candidates
    assert asked.looked == []


def test_priority_goes_before_warmth_and_warmth_before_load(bench: Bench) -> None:
    cold, warm = FoundModel("m", warm=False), FoundModel("m", warm=True)
    busy = provider("b", warm)
    busy.active = 100
    resolution = resolve(
        provider("a", cold), busy, provider("c", cold, priority=0), provider("d", cold)
    )
    chosen = bench.choose(resolution)
    assert chosen[:2] == ["c", "b"]
    assert set(chosen[2:]) == {"a", "d"}


@pytest.mark.parametrize("where", [Where("a", "m"), Where("a")])
def test_who_cools_down_is_left_out_until_it_is_over(
    bench: Bench, where: Where
) -> None:
    resolution = resolve(provider("a", "m"), provider("b", "m", priority=2))
    bench.state.cooldowns.start(where, 10.0)
    assert bench.choose(resolution) == ["b"]
    bench.clock.pass_by(10.0)
    assert bench.choose(resolution) == ["a", "b"]


def test_another_model_of_a_limited_provider_is_not_left_out(bench: Bench) -> None:
    known = catalog(provider("a", "m", "n"))
    bench.state.cooldowns.start(Where("a", "m"), 10.0)
    assert bench.choose(known.resolve("n", CHAT)) == ["a"]


def test_who_is_broken_is_left_out_and_then_probed_by_one(bench: Bench) -> None:
    resolution = resolve(provider("a", "m"), provider("b", "m", priority=2))
    bench.break_down(Where("a", "m"))
    assert bench.choose(resolution) == ["b"]
    bench.clock.pass_by(FIRST_COOLDOWN_S)
    assert bench.choose(resolution) == ["a", "b"]
    assert bench.breaker.try_enter(Where("a", "m"))
    assert bench.choose(resolution) == ["b"]


def test_who_lacks_what_is_needed_is_left_out(bench: Bench) -> None:
    blind = FoundModel("m", inputs=("text",))
    resolution = resolve(provider("a", blind), provider("b", "m", priority=2))
    assert bench.choose(resolution) == ["a", "b"]
    assert bench.choose(resolution, picture()) == ["b"]


def test_a_context_that_may_be_too_small_is_the_second_choice(bench: Bench) -> None:
    resolution = resolve(
        provider("a", FoundModel("m", context_window=1000)),
        provider("b", FoundModel("m", context_window=100_000), priority=2),
    )
    assert bench.choose(resolution) == ["a", "b"]
    assert bench.choose(resolution, ask("x" * 6000)) == ["b", "a"]
    assert bench.choose(resolution, ask("x" * 10_000)) == ["b"]


def test_a_session_stays_and_so_does_its_place_in_the_order(bench: Bench) -> None:
    resolution = resolve(provider("a", "m"), provider("b", "m"), provider("c", "m"))
    asked = ask(session="s")
    first = bench.chooser.choose(resolution, asked)[0]
    bench.affinity.served(first, asked.marks())
    first.provider.active = 5
    bench.breaker.failed(first.where)
    assert bench.chooser.choose(resolution, ask("more", session="s"))[0] is first


def test_without_affinity_the_least_busy_equal_is_first(bench: Bench) -> None:
    a, b, c = (provider(id_, "m", max_concurrent=4) for id_ in "abc")
    a.active, b.active, c.active = 2, 1, 3
    chooser = Chooser(bench.breaker, bench.state.cooldowns, None)
    asked = ask()
    assert ids(chooser.choose(resolve(a, b, c), asked)) == ["b", "a", "c"]
    assert "marks" not in asked.looked


def test_load_is_measured_against_slots(bench: Bench) -> None:
    small = provider("a", "m", max_concurrent=2)
    large = provider("b", "m", max_concurrent=8)
    small.active, large.active = 1, 2
    chooser = Chooser(bench.breaker, bench.state.cooldowns, None)
    assert ids(chooser.choose(resolve(small, large), ask())) == ["b", "a"]


@pytest.mark.parametrize("with_affinity", [True, False])
def test_who_fails_fast_is_never_the_least_busy(
    bench: Bench, with_affinity: bool
) -> None:
    a, b = provider("a", "m"), provider("b", "m")
    b.active = 7
    bench.breaker.failed(Where("a", "m"))
    affinity = bench.affinity if with_affinity else None
    chooser = Chooser(bench.breaker, bench.state.cooldowns, affinity)
    for number in range(8):
        asked = ask(f"question {number}")
        assert ids(chooser.choose(resolve(a, b), asked)) == ["b", "a"]


def test_auto_takes_a_model_that_can_do_it(bench: Bench) -> None:
    known = catalog(
        provider("a"),
        provider("b", FoundModel("seeing", inputs=("text", "image"))),
        models=(model("mine", "a", is_default=True, capabilities=BLIND),),
    )
    _, chosen = bench.chooser.find(known, "auto", CHAT, ask())
    assert ids(chosen) == ["a"]
    resolution, chosen = bench.chooser.find(known, "auto", CHAT, picture())
    assert ids(chosen) == ["b"]
    assert resolution.candidates == chosen


# -- who serves instead ------------------------------------------------------------------


def test_fallbacks_and_theirs_come_in_order_each_place_once(bench: Bench) -> None:
    known = catalog(
        provider("a", "m"), provider("b", "x"), provider("c", "y"), provider("d", "z"),
        models=(
            model("first", "a", upstream_model="m", fallbacks=("second", "c/y", "gone")),
            model("second", "b", upstream_model="x", fallbacks=("a/m", "d/z")),
        ),
    )  # fmt: skip
    resolution = known.resolve("first", CHAT)
    others = bench.chooser.fallbacks(known, resolution, ask())
    assert ids(others) == ["b", "c", "d"]


def test_a_model_without_configuration_has_no_fallbacks(bench: Bench) -> None:
    known = catalog(provider("a", "m"), provider("b", "m2"))
    assert bench.chooser.fallbacks(known, known.resolve("m", CHAT), ask()) == ()


def test_fallbacks_serve_a_model_whose_provider_is_down(bench: Bench) -> None:
    known = catalog(
        provider("a", health=Status.OFFLINE),
        provider("b", "x"),
        models=(model("m", "a", fallbacks=("x",)),),
    )
    resolution, chosen = bench.chooser.find(known, "m", CHAT, ask())
    assert chosen == ()
    assert ids(bench.chooser.instead(known, resolution, ask())) == ["b"]


def test_a_request_that_is_surely_too_long_goes_to_the_context_fallback(
    bench: Bench,
) -> None:
    known = catalog(
        provider("a"),
        provider("b", "wide", "other"),
        models=(
            model("m", "a", context_window=100, context_fallbacks=("wide",),
                  fallbacks=("other",)),
        ),
    )  # fmt: skip
    resolution, chosen = bench.chooser.find(known, "m", CHAT, ask("x" * 1000))
    assert chosen == ()
    (other,) = bench.chooser.instead(known, resolution, ask("x" * 1000))
    assert other.upstream_model == "wide"
    (spare,) = bench.chooser.fallbacks(known, resolution, ask())
    assert spare.upstream_model == "other"


# -- what is told ------------------------------------------------------------------------


def lacking(bench: Bench) -> tuple[Resolution, Ask]:
    known = catalog(provider("a"), models=(model("m", "a", capabilities=BLIND),))
    return known.resolve("m", CHAT), picture()


def too_long(bench: Bench) -> tuple[Resolution, Ask]:
    known = catalog(provider("a"), models=(model("m", "a", context_window=100),))
    return known.resolve("m", CHAT), ask("x" * 1000)


def unknown(bench: Bench) -> tuple[Resolution, Ask]:
    return catalog(provider("a", "x")).resolve("m", CHAT), ask()


@pytest.mark.parametrize(
    ("case", "code", "param"),
    [
        (lacking, "unsupported_operation", "messages"),
        (too_long, "context_length_exceeded", "messages"),
        (unknown, "model_not_found", "model"),
    ],
)
def test_a_refusal_says_what_the_caller_can_change(
    bench: Bench, case: Callable[[Bench], tuple[Resolution, Ask]], code: str, param: str
) -> None:
    resolution, asked = case(bench)
    assert bench.chooser.choose(resolution, asked) == ()
    error = bench.chooser.refusal(resolution, asked)
    assert isinstance(error, CallerFault)
    assert (error.code, error.param) == (code, param)
    assert bench.chooser.available_in_s(resolution, asked) is None


def test_all_cooling_down_is_told_with_the_earliest_end(bench: Bench) -> None:
    resolution = resolve(provider("a", "m"), provider("b", "m"))
    bench.state.cooldowns.start(Where("a", "m"), 30.0)
    bench.state.cooldowns.start(Where("b", "m"), 12.0)
    assert bench.choose(resolution) == []
    assert bench.chooser.available_in_s(resolution, ask()) == 12.0
    error = bench.chooser.refusal(resolution, ask())
    assert isinstance(error, ProviderFault)
    assert (error.code, error.retry_after_s) == ("upstream_rate_limited", 12.0)


def test_all_broken_is_told_as_unavailable(bench: Bench) -> None:
    resolution = resolve(provider("a", "m"))
    bench.break_down(Where("a"))
    error = bench.chooser.refusal(resolution, ask())
    assert (error.code, error.status) == ("all_providers_unavailable", 503)
    assert error.retry_after_s == FIRST_COOLDOWN_S
    bench.clock.pass_by(FIRST_COOLDOWN_S)
    assert bench.breaker.try_enter(Where("a"))
    assert bench.chooser.available_in_s(resolution, ask()) == 1.0


def test_who_is_left_alone_is_known_from_who_never_could(bench: Bench) -> None:
    text_only = FoundModel("m", inputs=("text",))
    resolution = resolve(
        provider("a", "m"), provider("b", "m"), provider("c", text_only)
    )
    bench.break_down(Where("a"))
    bench.state.cooldowns.start(Where("b", "m"), 12.0)
    alone = bench.chooser.left_alone(resolution, picture())
    assert [c.provider.id for c in alone] == ["a", "b"]


def test_one_that_has_opened_meanwhile_is_looked_at_again_at_once(
    bench: Bench,
) -> None:
    resolution = resolve(provider("a", "m"))
    wait_s = bench.chooser.available_in_s(resolution, ask())
    assert wait_s is not None
    assert wait_s < 0.1
    error = bench.chooser.refusal(resolution, ask())
    assert error.code == "all_providers_unavailable", "no fault of the caller's"


def test_an_explanation_names_everyone_and_why(bench: Bench) -> None:
    known = catalog(
        provider("a", "m"),
        provider("b", "m", health=Status.OFFLINE),
        provider("c", FoundModel("m", inputs=("text",))),
        provider("d", "m", priority=2),
        provider("e", FoundModel("m", context_window=10)),
        provider("f", "m"),
        provider("g", "m", priority=3),
    )
    bench.state.cooldowns.start(Where("d", "m"), 20.0)
    bench.break_down(Where("f", "m"))
    asked = ask("x" * 1000, tools=[], messages=[
        {"role": "user", "content": "x" * 1000},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]},
    ])  # fmt: skip
    verdicts = bench.chooser.explain(known.resolve("m", CHAT), asked)
    told = {v.candidate.provider.id: (v.reason, v.detail) for v in verdicts}
    assert [v.candidate.provider.id for v in verdicts if v.kept] == ["a", "g"]
    assert told["a"][1] == "priority 1, online, 0 active of no limit"
    assert told["b"] == (Reason.OUT_OF_USE, "offline")
    assert told["c"] == (Reason.LACKING, "no images")
    assert told["d"] == (Reason.COOLING, "for 20 s")
    assert told["e"] == (Reason.TOO_LONG, "its context is 10 tokens")
    assert told["f"] == (Reason.BROKEN, "for 5 s")


def test_an_explanation_tells_who_cannot_do_the_operation() -> None:
    known = catalog(provider("a", "m", kind="ollama"), provider("b", "m"))
    bench = Bench()
    verdicts = bench.chooser.explain(known.resolve("m", RERANK), ask())
    assert [(v.candidate.provider.id, v.reason) for v in verdicts] == [
        ("b", Reason.KEPT),
        ("a", Reason.UNABLE),
    ]
    assert known.resolve("m", EMBEDDINGS).everyone
