from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from providers.wire.members import read_members
from proxy.config import Config, ModelConfig
from proxy.config.schema_models import Pricing
from proxy.config.schema_policy import (
    BudgetsConfig,
    RateLimit,
    RateLimitsConfig,
    TenantBudget,
)
from proxy.core.types import ANYONE, Attempt, Budget, Limits, Principal, Record
from proxy.limits.budget import BudgetReached, Budgets
from proxy.limits.rate import LimitReached, RateLimits
from proxy.limits.spending import NANO, Spending
from proxy.pipeline.allowance import UNLIMITED, Allowance, Reservation
from proxy.pipeline.passing import Passing
from proxy.pipeline.tariff import Tariff
from proxy.routing.catalog import Catalog, Resolution
from proxy.routing.needs import Needs
from proxy.state.memory import MemoryState
from proxy.state.money import Account
from tests.fakes.hand_clock import HandClock
from tests.fakes.kinds import provider
from tests.proxy.limits.conftest import FakeBefore

KEY = Principal(key="k1", budget=Budget(daily_usd=1.001))
ACCOUNT = Account("key", "k1")
MODELS = (
    ModelConfig(id="free", provider_id="home", aliases=("gratis",)),
    ModelConfig(
        id="dear",
        provider_id="away",
        pricing=Pricing(input_per_1m=1, output_per_1m=1_000_000),
    ),
    ModelConfig(id="unpriced", provider_id="away"),
    ModelConfig(id="rising", provider_id="home", fallbacks=("dear", "unpriced")),
)


@dataclass
class Question:
    """Asked: 400 bytes of prompt or so, `max_tokens` and `user` as given."""

    model: str
    body: dict[str, Any]
    pinned: Resolution | None = None

    def needs(self) -> Needs:
        return Needs("chat", read_members(orjson.dumps(self.body)))

    def value(self, name: str) -> object:
        return self.body.get(name)


def question(model: str = "free", **body: Any) -> Question:
    return Question(model, body)


class House:
    """An allowance with what it counts on."""

    def __init__(self, limits: RateLimitsConfig, budgets: BudgetsConfig) -> None:
        self.clock = HandClock()
        self.state = MemoryState(self.clock, wall=self.clock)
        self.money = Spending(self.state.money, FakeBefore(), self.clock)
        known = Catalog(
            Config(models=MODELS), [provider("home"), provider("away", type="cloud")]
        )
        self.allowance = Allowance(
            RateLimits(limits, self.state.rates, self.state.slots),
            Budgets(budgets, self.money),
            lambda: known,
        )

    def take(
        self,
        who: Principal = ANYONE,
        what: Question | None = None,
        peer: str = "10.0.0.1",
    ) -> Reservation:
        reserved = self.allowance.try_reserve(who, peer, "chat", what or question())
        assert reserved is not None
        return reserved

    async def pay(self, what: Question, who: Principal = KEY) -> Reservation:
        return await self.allowance.reserve(who, "10.0.0.1", "chat", what)

    def spent(self) -> float:
        return self.money.spent(ACCOUNT)[0] / NANO


def house(
    limits: RateLimitsConfig | None = None, budgets: BudgetsConfig | None = None
) -> House:
    return House(limits or RateLimitsConfig(), budgets or BudgetsConfig())


def ended(status: int = 200, *, asked: bool = True, **more: Any) -> Record:
    record = Record("r", "chat", 0.0)
    record.status = status
    if asked:
        record.attempts.append(Attempt("home", None))
    for name, value in more.items():
        setattr(record, name, value)
    return record


def used(prompt: int, completion: int, **more: Any) -> Record:
    return ended(
        prompt_tokens=prompt,
        completion_tokens=completion,
        usage_source="upstream",
        **more,
    )


# -- limits ----------------------------------------------------------------------------


def test_who_is_limited_by_nothing_need_not_be_asked_about() -> None:
    found = house()
    assert not found.allowance.is_on
    assert not ANYONE.is_limited
    assert found.take() is UNLIMITED
    UNLIMITED.settle(ended())
    assert UNLIMITED.lines == ""


def test_a_key_with_limits_is_limited_where_nobody_else_is() -> None:
    found, key = house(), Principal(key="k", limits=Limits(requests="1/minute"))
    assert key.is_limited
    reserved = found.take(key)
    assert "x-ratelimit-remaining-requests: 0\r\n" in reserved.lines
    with pytest.raises(LimitReached):
        found.take(key)
    assert found.take(Principal(key="other")) is UNLIMITED


def test_those_who_are_not_known_are_told_apart_by_address() -> None:
    found = house(RateLimitsConfig(by_ip=RateLimit(requests="1/minute")))
    found.take(peer="10.0.0.1")
    found.take(peer="10.0.0.2")
    found.take(peer="2001:db8::1")
    with pytest.raises(LimitReached):
        found.take(peer="10.0.0.1")
    with pytest.raises(LimitReached):
        found.take(peer="2001:db8::2")


def test_a_model_is_limited_whatever_it_is_called() -> None:
    found = house(RateLimitsConfig(by_model={"free": RateLimit(requests="3/minute")}))
    for name in ("free", "gratis", "home/free"):
        found.take(what=question(name))
    for name in ("free", "gratis", "home/free"):
        with pytest.raises(LimitReached):
            found.take(what=question(name))
    assert found.take(what=question("dear")) is UNLIMITED


def test_the_user_of_a_body_is_limited() -> None:
    found = house(RateLimitsConfig(by_user={"*": RateLimit(requests="1/minute")}))
    found.take(what=question(user="ann"))
    found.take(what=question(user="ben"))
    with pytest.raises(LimitReached):
        found.take(what=question(user="ann"))
    assert found.take(what=question(user=7)) is UNLIMITED


@pytest.mark.parametrize(
    ("record", "left"),
    [
        (used(40, 60), 900),
        (ended(503), 1000),
        (ended(asked=False), 1000),
        (ended(499, asked=False), 1000),
        (ended(499), 1000 - 12),
        (ended(), 1000 - 512),
    ],
    ids=["used", "failed", "answered here", "left before", "left", "nobody says"],
)
def test_tokens_are_settled_by_what_became_of_the_request(
    record: Record, left: int
) -> None:
    found = house(RateLimitsConfig(by_ip=RateLimit(tokens="1000/minute")))
    reserved = found.take(what=question(max_tokens=500, text="x" * 20))
    reserved.settle(record)
    reserved.settle(used(1000, 1000))
    probe = found.allowance._limits.plan_of(ANYONE, "10.0.0.1")
    assert probe is not None
    (level,) = found.state.rates.try_reserve(probe.charges(0)).levels
    assert round(level.remaining) == left


async def test_to_count_tokens_uses_none_and_costs_nothing() -> None:
    found = house(RateLimitsConfig(default=RateLimit(tokens="1000/minute")))
    who = KEY, "", "count_tokens"
    reserved = found.allowance.try_reserve(*who, question("unpriced", text="x" * 400))
    assert reserved is not None
    assert "remaining-tokens: 1000\r\n" in reserved.lines
    reserved.settle(ended())
    later = found.allowance.try_reserve(*who, question("dear"))
    assert later is not None
    assert "remaining-tokens: 1000\r\n" in later.lines


def test_tokens_nobody_expected_are_taken_all_the_same() -> None:
    found = house(RateLimitsConfig(by_ip=RateLimit(tokens="1000/minute")))
    passing = Passing("free", None, "passage")
    reserved = found.allowance.try_reserve(ANYONE, "10.0.0.1", "passage", passing)
    assert reserved is not None
    reserved.settle(used(100, 200))
    passing = Passing("free", None, "passage")
    later = found.allowance.try_reserve(ANYONE, "10.0.0.1", "passage", passing)
    assert later is not None
    assert "remaining-tokens: 700\r\n" in later.lines


def test_a_place_is_given_back_once() -> None:
    found = house(RateLimitsConfig(default=RateLimit(concurrent=1)))
    reserved = found.take()
    with pytest.raises(LimitReached):
        found.take()
    reserved.settle(ended())
    again = found.take()
    reserved.settle(ended())
    with pytest.raises(LimitReached):
        found.take()
    again.settle(ended(499))
    assert len(found.state.slots) == 0


def test_a_reload_turns_limits_on_and_off() -> None:
    found = house()
    limits = RateLimitsConfig(default=RateLimit(requests="1/minute"))
    found.allowance.adopt(Config(rate_limits=limits))
    assert found.allowance.is_on
    found.take()
    found.allowance.adopt(Config())
    assert not found.allowance.is_on


# -- budgets ---------------------------------------------------------------------------


async def test_what_was_spent_before_is_awaited_and_then_known() -> None:
    found = house()
    what = question("dear", max_tokens=1)
    assert found.allowance.try_reserve(KEY, "", "chat", what) is None
    (await found.pay(question("dear", max_tokens=1))).settle(ended(503))
    assert found.allowance.try_reserve(KEY, "", "chat", what) is not None


async def test_the_dearest_is_set_aside_and_the_real_cost_taken() -> None:
    found = house()
    reserved = await found.pay(question("rising", max_tokens=1))
    with pytest.raises(BudgetReached):
        await found.pay(question("dear", max_tokens=1))
    reserved.settle(used(10, 0, cost_usd=0.25))
    assert found.spent() == 0.25


async def test_who_leaves_pays_for_the_prompt_and_who_failed_nothing() -> None:
    found = house()
    reserved = await found.pay(question("dear", max_tokens=1))
    reserved.settle(ended(499))
    assert found.spent() == pytest.approx(4e-06)
    found = house()
    reserved = await found.pay(question("dear", max_tokens=1))
    reserved.settle(ended(503))
    assert found.spent() == 0.0
    reserved = await found.pay(question("dear", max_tokens=1))
    reserved.settle(ended())
    assert found.spent() == pytest.approx(1.0, abs=1e-4)


async def test_what_is_free_goes_on_when_the_money_is_gone() -> None:
    found = house()
    (await found.pay(question("dear", max_tokens=1))).settle(used(1, 1, cost_usd=1.0))
    assert (await found.pay(question("free"))).tariff is Tariff.ANY
    assert (await found.pay(question("rising"))).tariff is Tariff.FREE
    assert found.take(KEY, question("rising")).tariff is Tariff.FREE
    with pytest.raises(BudgetReached):
        await found.pay(question("dear", max_tokens=1))


async def test_an_unpriced_model_is_refused_under_a_budget_alone() -> None:
    found = house()
    with pytest.raises(BudgetReached) as refused:
        await found.pay(question("unpriced"))
    assert refused.value.param == "model"
    assert (await found.pay(question("rising", max_tokens=1))).tariff is Tariff.PRICED
    other = Principal(key="k2")
    assert found.take(other, question("unpriced")) is UNLIMITED


async def test_unpriced_models_may_be_let_through() -> None:
    found = house(budgets=BudgetsConfig(allow_unpriced=True))
    reserved = await found.pay(question("unpriced"))
    assert reserved.tariff is Tariff.ANY
    reserved.settle(used(1, 1, cost_usd=0.5))
    assert found.spent() == 0.5


async def test_a_limit_that_refuses_gives_the_money_back() -> None:
    found = house(
        RateLimitsConfig(default=RateLimit(requests="1/minute")),
        BudgetsConfig(by_tenant={"default": TenantBudget(daily_usd=2.0)}),
    )
    reserved = await found.pay(question("dear", max_tokens=1))
    reserved.settle(ended(503))
    for _ in range(3):
        with pytest.raises(LimitReached):
            await found.pay(question("dear", max_tokens=1))
        with pytest.raises(LimitReached):
            found.take(KEY, question("dear", max_tokens=1))
    assert found.money.spent(Account("tenant", "default")) == (0, 0, 0)
