from __future__ import annotations

import pytest

from proxy.config.schema_policy import RateLimit, RateLimitsConfig
from proxy.core.types import ANYONE, Limits, Principal
from proxy.limits.plan import Caller, plan_for, read_rate
from proxy.state.base import Rate

CONFIG = RateLimitsConfig(
    default=RateLimit(requests="120/minute", tokens="200000/minute", concurrent=16),
    by_key_name={
        "agent-*": RateLimit(requests="600/minute"),
        "agent-x": RateLimit(requests="7/second"),
    },
    by_ip=RateLimit(requests="60/minute"),
    by_tenant={"team-a": RateLimit(requests="1000/hour")},
    by_user={"*": RateLimit(requests="5/minute")},
    by_model={"big*": RateLimit(concurrent=2)},
)
KEY = Principal(tenant="b", key="k1", key_name="plain")


def amounts(caller: Caller, config: RateLimitsConfig = CONFIG) -> dict[str, float]:
    """What is allowed under each counter."""
    plan = plan_for(config, caller)
    if plan is None:
        return {}
    return {
        **{charge.key: charge.rate.amount for charge in plan.requests},
        **{key: rate.amount for key, rate in plan.tokens},
        **{key: limit for key, limit in plan.bounds if limit is not None},
    }


def test_nothing_configured_limits_nobody() -> None:
    assert plan_for(RateLimitsConfig(), Caller(ANYONE, "1.2.3.4", "m", "u")) is None
    assert plan_for(RateLimitsConfig(), Caller(KEY)) is None


def test_a_key_has_the_default_for_itself() -> None:
    assert amounts(Caller(KEY)) == {
        "key:k1:requests": 120,
        "key:k1:tokens": 200_000,
        "limit:key:k1": 16,
    }


@pytest.mark.parametrize(
    ("name", "requests"), [("agent-7", 600), ("agent-x", 7), ("agent", 120)]
)
def test_a_keys_name_goes_before_the_default_field_by_field(
    name: str, requests: int
) -> None:
    found = amounts(Caller(Principal(key="k1", key_name=name)))
    assert found["key:k1:requests"] == requests
    assert found["key:k1:tokens"] == 200_000


def test_a_keys_own_row_goes_first_field_by_field() -> None:
    own = Principal(
        key="k1", key_name="agent-x", limits=Limits(tokens="9/day", concurrent=1)
    )
    assert amounts(Caller(own)) == {
        "key:k1:requests": 7,
        "key:k1:tokens": 9,
        "limit:key:k1": 1,
    }
    assert amounts(Caller(own), RateLimitsConfig()) == {
        "key:k1:tokens": 9,
        "limit:key:k1": 1,
    }


def test_who_is_not_known_is_held_by_the_address() -> None:
    assert amounts(Caller(ANYONE, "1.2.3.4")) == {
        "ip:1.2.3.4:requests": 60,
        "ip:1.2.3.4:tokens": 200_000,
        "limit:ip:1.2.3.4": 16,
    }
    assert "ip:1.2.3.4:requests" not in amounts(Caller(KEY, "1.2.3.4"))


def test_tenants_users_and_models_come_on_top() -> None:
    principal = Principal(tenant="team-a", user="u")
    found = amounts(Caller(principal, model="big-1"))
    assert found["token:team-a\x1fu:requests"] == 120
    assert found["tenant:team-a:requests"] == 1000
    assert found["user:team-a\x1fu:requests"] == 5
    assert found["limit:model:big-1"] == 2
    assert "limit:model:small" not in amounts(Caller(principal, model="small"))


def test_users_of_two_tenants_are_two_and_a_key_may_serve_many() -> None:
    assert "user:b\x1fu1:requests" in amounts(Caller(KEY, user="u1"))
    first = amounts(Caller(Principal(tenant="a/b", user="c")))
    second = amounts(Caller(Principal(tenant="a", user="b/c")))
    assert not first.keys() & second.keys()


def test_rates_are_read() -> None:
    assert read_rate("120/minute") == Rate(120.0, 60.0)
    assert read_rate("1/second") == Rate(1.0, 1.0)
    assert read_rate("5/hour") == Rate(5.0, 3600.0)
    assert read_rate("9/day") == Rate(9.0, 86_400.0)


@pytest.mark.parametrize("text", ["", "0/minute", "1/week", "1.5/day", "-1/day", "x"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_rate(text)
