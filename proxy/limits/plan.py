"""Which allowances a request draws on: its key's or address's, tenant's, user's, model's.

A key's own row goes before `byKeyName`, that before `default`, each field by itself;
who is not known at all is held by its address, `byIp` before `default`. Limits of
tenants, users and models come on top.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from msgspec import Struct

from proxy.config.schema_policy import RateLimit, RateLimitsConfig
from proxy.core.patterns import best
from proxy.core.types import Limits, Principal
from proxy.limits.headers import heading
from proxy.state.base import Bound, Charge, Rate

_PERIODS_S: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
_rate: Final = re.compile(r"([1-9]\d*)/(second|minute|hour|day)").fullmatch
# Between parts of a counter's name; names hold no control characters.
_SEPARATOR: Final = "\x1f"


class Caller(Struct, frozen=True):
    """Who is asking for which model. `address` is what counts as one address."""

    principal: Principal
    address: str = ""
    model: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request draws on; `requests` are whole charges, `tokens` await a cost.

    `headings` begin the fields of a reply's head that say how each of them stands.
    """

    requests: tuple[Charge, ...]
    tokens: tuple[tuple[str, Rate], ...]
    bounds: tuple[Bound, ...]
    headings: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        requests = [heading("requests", charge.rate) for charge in self.requests]
        tokens = [heading("tokens", rate) for _, rate in self.tokens]
        object.__setattr__(self, "headings", (*requests, *tokens))

    def charges(self, tokens: float) -> tuple[Charge, ...]:
        """Answer the charges, those of requests first."""
        if not self.tokens:
            return self.requests
        return (
            *self.requests,
            *(Charge(key, rate, tokens) for key, rate in self.tokens),
        )


def plan_for(config: RateLimitsConfig, caller: Caller) -> Plan | None:
    """Answer what limits a caller; None when nothing does."""
    requests: list[Charge] = []
    tokens: list[tuple[str, Rate]] = []
    bounds: list[Bound] = []
    for name, limits in _limits(config, caller):
        if limits.requests is not None:
            requests.append(Charge(f"{name}:requests", read_rate(limits.requests), 1.0))
        if limits.tokens is not None:
            tokens.append((f"{name}:tokens", read_rate(limits.tokens)))
        if limits.concurrent is not None:
            bounds.append((f"limit:{name}", limits.concurrent))
    if not requests and not tokens and not bounds:
        return None
    return Plan(tuple(requests), tuple(tokens), tuple(bounds))


@lru_cache(maxsize=256)
def read_rate(text: str) -> Rate:
    """Read `120/minute`. Raises ValueError."""
    match = _rate(text)
    if match is None:
        raise ValueError(f"{text!r} is no rate")
    return Rate(float(match[1]), _PERIODS_S[match[2]])


def _limits(
    config: RateLimitsConfig, caller: Caller
) -> Iterator[tuple[str, Limits | RateLimit]]:
    """Yield each limit with the name of its counter."""
    principal = caller.principal
    tenant, user = principal.tenant, caller.user or principal.user
    yield _of_caller(config, caller)
    if (found := best(config.by_tenant, tenant)) is not None:
        yield f"tenant:{tenant}", found
    if user is not None and (found := best(config.by_user, user)) is not None:
        yield f"user:{tenant}{_SEPARATOR}{user}", found
    model = caller.model
    if model is not None and (found := best(config.by_model, model)) is not None:
        yield f"model:{model}", found


def _of_caller(config: RateLimitsConfig, caller: Caller) -> tuple[str, Limits]:
    principal = caller.principal
    if principal.key is not None:
        named = best(config.by_key_name, principal.key_name or "")
        limits = _joined(principal.limits, named, config.default)
        return f"key:{principal.key}", limits
    if principal.user is not None:
        name = f"token:{principal.tenant}{_SEPARATOR}{principal.user}"
        return name, _joined(config.default)
    return f"ip:{caller.address}", _joined(config.by_ip, config.default)


def _joined(*limits: Limits | RateLimit | None) -> Limits:
    """Answer each field as the first that has it says."""
    given = [found for found in limits if found is not None]
    return Limits(
        requests=next((x.requests for x in given if x.requests is not None), None),
        tokens=next((x.tokens for x in given if x.tokens is not None), None),
        concurrent=next(
            (x.concurrent for x in given if x.concurrent is not None), None
        ),
    )
