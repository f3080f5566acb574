"""Keys of what guards accounts and money: auth, limits, budgets, cache, state.

`later` says which of them have no effect yet.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from proxy.config.base import (
    Amount,
    Count,
    Map,
    Positive,
    Seconds,
    Section,
    empty_map,
    option,
)

Rate = Annotated[str, Field(pattern=r"^[1-9]\d{0,14}/(second|minute|hour|day)$")]


class JwtConfig(Section):
    secret: str | None = option(
        None,
        "Secret that signs HMAC tokens.",
        secret=True,
        shown_default="${env:JWT_SECRET:-}",
    )
    algorithms: Annotated[
        tuple[Literal["HS256", "RS256", "ES256", "EdDSA"], ...], Field(min_length=1)
    ] = option(
        ("HS256",), "Signature algorithms accepted: HS256 by secret, others by jwksUrl."
    )
    jwks_url: str | None = option(None, "Where the issuer publishes its keys.")
    issuer: str | None = option(None, "Required `iss` claim.")
    audience: str | None = option(None, "Required `aud` claim.")
    tenant_claim: str = option("tenant", "Claim that names the tenant.")
    scopes_claim: str = option("scope", "Claim that lists the scopes.")


class AuthConfig(Section):
    enabled: bool = option(False, "Require a key or token from every caller.")
    jwt: JwtConfig = option(JwtConfig, "Tokens issued elsewhere.")
    key_prefix: str = option("lai_", "How keys issued here begin.")


class DatabaseConfig(Section):
    url: str | None = option(
        None,
        "postgresql://… ; null is the file local-ai.db in the data directory.",
        secret=True,
    )


class StateConfig(Section):
    url: str = option(
        "memory://",
        "valkey://… or redis://… (valkeys://, rediss:// with TLS) to share slots, rates "
        "and cooldowns between processes and hosts.",
        secret=True,
    )


class RateLimit(Section):
    requests: Rate | None = option(None, "Requests, such as 120/minute.")
    tokens: Rate | None = option(None, "Tokens, such as 200000/minute.")
    concurrent: Positive | None = option(
        None, "Requests at the same time.", unit="requests"
    )


class RateLimitsConfig(Section):
    default: RateLimit = option(RateLimit, "For callers with no limit of their own.")
    by_key_name: Map[RateLimit] = option(empty_map, "Key name pattern → limit.")
    by_ip: RateLimit = option(RateLimit, "For callers that are not known.")
    by_tenant: Map[RateLimit] = option(empty_map, "Tenant → limit.")
    by_user: Map[RateLimit] = option(empty_map, "User → limit.")
    by_model: Map[RateLimit] = option(empty_map, "Model → limit.")


class CacheConfig(Section):
    enabled: bool = option(False, "Answer repeated requests from memory.")
    ttl_seconds: Seconds = option(3600, "How long a reply is kept.", unit="seconds")
    max_bytes: Positive = option(268435456, "Memory for replies.", unit="bytes")


class EmbeddingsConfig(Section):
    substitutes: Map[str] = option(
        empty_map, "Provider id or kind without embeddings → model that serves instead."
    )


class TenantBudget(Section):
    daily_usd: Amount | None = option(None, "Most that one day may cost.", unit="USD")
    monthly_usd: Amount | None = option(
        None, "Most that one month may cost.", unit="USD"
    )


class BudgetsConfig(Section):
    allow_unpriced: bool = option(
        False, "Let a tenant with a budget use models of unknown price."
    )
    by_tenant: Map[TenantBudget] = option(empty_map, "Tenant → budget.")


class ExecuteQueueConfig(Section):
    max_length: Count = option(1024, "Runs that may wait.", unit="runs")
    max_bytes: Positive = option(
        67108864, "Code and input of all that wait.", unit="bytes"
    )
    max_wait_seconds: Seconds = option(
        120, "How long a run waits for its turn.", unit="seconds"
    )


class ExecuteConfig(Section):
    enabled: bool = option(False, "Serve POST /execute.")
    engines: Annotated[tuple[Literal["monty", "cpython"], ...], Field(min_length=1)] = (
        option(
            ("monty", "cpython"),
            "Interpreters that may be used: monty, a part of Python; cpython, in a jail.",
        )
    )
    require_isolation: Literal["process", "jail"] | None = option(
        None, "Least isolation under which code is run; null: the best there is."
    )
    timeout_seconds: Seconds = option(
        5, "How long code may run, where the request does not say.", unit="seconds"
    )
    max_timeout_seconds: Seconds = option(
        30, "The longest that a request may ask for.", unit="seconds"
    )
    memory_bytes: Annotated[Positive, Field(ge=1 << 20)] = option(
        134217728, "Memory of one run.", unit="bytes"
    )
    input_bytes: Positive = option(
        1048576, "Largest request: code and input.", unit="bytes"
    )
    output_bytes: Positive = option(
        65536, "Kept of stdout, of stderr, and of the result.", unit="bytes"
    )
    max_threads: Positive = option(32, "Threads of one run.", unit="threads")
    concurrency: Positive = option(
        4, "Runs at the same time, on each engine.", unit="runs"
    )
    queue: ExecuteQueueConfig = option(ExecuteQueueConfig, "Waiting for a turn.")
