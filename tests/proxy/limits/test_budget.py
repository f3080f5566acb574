from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config.schema_policy import BudgetsConfig, TenantBudget
from proxy.core.types import ANYONE, Budget, Principal
from proxy.limits.budget import BudgetReached, Budgets, Held
from proxy.limits.spending import NANO, Spending
from proxy.state.memory_money import MemoryMoney
from proxy.state.money import Account
from tests.fakes.fetch import Clock
from tests.proxy.limits.conftest import FakeBefore

KEY = Principal(key="k1", budget=Budget(daily_usd=1.0))
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def counters(clock: Clock) -> Spending:
    return Spending(MemoryMoney(clock), FakeBefore(), clock)


@pytest.fixture
def budgets(counters: Spending) -> Budgets:
    config = BudgetsConfig(by_tenant={"team-*": TenantBudget(monthly_usd=2.0)})
    return Budgets(config, counters)


async def refused(
    budgets: Budgets, principal: Principal, usd: float | None
) -> BudgetReached:
    with pytest.raises(BudgetReached) as reached:
        await budgets.reserve(principal, usd)
    assert (reached.value.code, reached.value.status) == ("budget_exceeded", 402)
    return reached.value


async def test_who_has_no_budget_is_asked_for_nothing(counters: Spending) -> None:
    budgets = Budgets(BudgetsConfig(), counters)
    assert not budgets.hold(ANYONE)
    for estimate in (0.0, 1e9, None):
        held = budgets.try_reserve(ANYONE, estimate)
        assert held is not None
        with held:
            held.cost(1e9)
    assert not counters._money.accounts


async def test_money_is_set_aside_and_settled(
    budgets: Budgets, counters: Spending
) -> None:
    with await budgets.reserve(KEY, 0.6) as held:
        error = await refused(budgets, KEY, 0.5)
        held.cost(0.25)
    assert "daily budget of this key, 1.00 USD" in error.message
    assert counters.spent(Account("key", "k1")) == (NANO // 4, NANO // 4, 0)
    with await budgets.reserve(KEY, 0.75) as held:
        held.cost(0.75)
    await refused(budgets, KEY, 1e-9)


async def test_a_tiny_budget_is_told_in_full(budgets: Budgets) -> None:
    tiny = Principal(key="k9", budget=Budget(daily_usd=0.000012))
    error = await refused(budgets, tiny, 1.0)
    assert "of this key, 0.000012 USD, has" in error.message


async def test_what_did_not_cost_is_given_back_and_what_nobody_knows_is_not(
    budgets: Budgets,
) -> None:
    with pytest.raises(RuntimeError), await budgets.reserve(KEY, 1.0):
        raise RuntimeError
    with await budgets.reserve(KEY, 1.0) as held:
        held.cost(None)
        held.end()
        held.end()
    await refused(budgets, KEY, 0.01)


async def test_a_day_ends_at_midnight_of_utc(budgets: Budgets, clock: Clock) -> None:
    with await budgets.reserve(KEY, 1.0) as held:
        held.cost(1.0)
    error = await refused(budgets, KEY, 0.1)
    assert error.retry_after_s == pytest.approx(12 * 3600)
    clock.at += 12 * 3600 - 1
    await refused(budgets, KEY, 0.1)
    clock.at += 1
    await budgets.reserve(KEY, 0.1)


async def test_a_tenant_is_held_by_the_month_with_all_its_keys(
    budgets: Budgets, clock: Clock
) -> None:
    first = Principal(tenant="team-a", key="k1")
    second = Principal(tenant="team-a", key="k2", budget=Budget(daily_usd=10))
    assert budgets.hold(first)
    for principal in (first, second):
        with await budgets.reserve(principal, 1.0) as held:
            held.cost(1.0)
    error = await refused(budgets, second, 0.1)
    assert "monthly budget of this tenant" in error.message
    assert error.retry_after_s == pytest.approx(9.5 * 86_400)
    clock.at += 86_400
    await refused(budgets, first, 0.1)
    await budgets.reserve(Principal(tenant="team-b"), 2.0)
    await budgets.reserve(Principal(tenant="other"), 1e6)
    clock.at += 8.5 * 86_400
    await budgets.reserve(first, 2.0)


async def test_a_refusal_takes_nothing_of_another_account(
    budgets: Budgets, counters: Spending
) -> None:
    both = Principal(tenant="team-a", key="k1", budget=Budget(daily_usd=5))
    await refused(budgets, both, 3.0)
    assert counters.spent(Account("key", "k1")) == (0, 0, 0)
    assert counters.aside == 0


async def test_what_is_free_is_never_held_back(budgets: Budgets) -> None:
    with await budgets.reserve(KEY, 1.0) as held:
        held.cost(3.0)
    await refused(budgets, KEY, 0.01)
    assert isinstance(budgets.try_reserve(KEY, 0.0), Held)


async def test_a_model_without_a_price_is_refused_under_a_budget(
    budgets: Budgets,
) -> None:
    error = await refused(budgets, KEY, None)
    assert error.param == "model"
    assert error.retry_after_s is None


async def test_unpriced_models_may_be_let_through_and_count_what_they_report(
    counters: Spending,
) -> None:
    budgets = Budgets(BudgetsConfig(allow_unpriced=True), counters)
    with await budgets.reserve(KEY, None):
        pass
    with await budgets.reserve(KEY, None) as held:
        held.cost(1.5)
    await refused(budgets, KEY, None)


async def test_a_reload_changes_the_budget_and_forgets_nothing(
    counters: Spending,
) -> None:
    principal = Principal(tenant="a")
    budgets = Budgets(BudgetsConfig(by_tenant={"a": TenantBudget(daily_usd=1)}), counters)  # fmt: skip
    with await budgets.reserve(principal, 1.0) as held:
        held.cost(1.0)
    await refused(budgets, principal, 0.5)
    budgets.adopt(BudgetsConfig(by_tenant={"a": TenantBudget(daily_usd=1.5)}))
    await budgets.reserve(principal, 0.5)
    budgets.adopt(BudgetsConfig())
    await budgets.reserve(principal, 100.0)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "ask", "end", "lose", "wait"]),
            st.integers(1, 60),
            st.integers(1, 60),
        ),
        max_size=60,
    )
)
async def test_no_order_of_events_overshoots_by_more_than_is_in_flight(
    plan: list[tuple[str, int, int]],
) -> None:
    """What is spent exceeds a budget by no more than requests cost beyond what was
    set aside for them (or all of it, where a lease ran out)."""
    clock = Clock(NOON)
    counters = Spending(MemoryMoney(clock, lifetime_s=100.0), FakeBefore(), clock)
    budgets = Budgets(BudgetsConfig(), counters)
    account = Account("key", "k1")
    open_: list[tuple[Held, float, float]] = []
    beyond = 0.0
    for step, first_cents, second_cents in plan:
        first, second = first_cents / 100, second_cents / 100
        if step == "ask":
            try:
                held = await budgets.reserve(KEY, first)
            except BudgetReached:
                day, _, aside = counters.spent(account)
                assert day + aside + round(first * NANO) > NANO
                continue
            open_.append((held, first, clock.at))
        elif step == "end" and open_:
            held, estimate, at = open_.pop(first_cents % len(open_))
            held.cost(second)
            held.end()
            is_lost = clock.at - at >= 100.0
            beyond += second if is_lost else max(0.0, second - estimate)
        elif step == "lose" and open_:
            open_.pop()  # as a crash would
        elif step == "wait":
            clock.at += first * 100
        day, month, aside = counters.spent(account)
        assert day == month
        assert aside >= 0
        assert day + aside <= NANO + beyond * NANO + 100
    for held, _, _ in open_:
        held.end()
    clock.at += 100
    await budgets.reserve(Principal(key="k2", budget=Budget(daily_usd=1)), 0.1)
    assert counters.spent(account)[2] == 0, "no lease outlives its lifetime"
