"""Keys of what guards accounts and money: auth, limits, budgets, cache, state.

Most arrive with later versions; `later` says what setting one means today.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from proxy.config.base import (
    Amount,
    Map,
    Positive,
    Seconds,
    Section,
    empty_map,
    option,
)

Rate = Annotated[str, Field(pattern=r"^\d+/(second|minute|hour|day)$")]


class JwtConfig(Section):
    secret: str | None = option(
        None,
        "Secret that signs HMAC tokens.",
        secret=True,
        shown_default="${env:JWT_SECRET:-}",
    )
    algorithms: tuple[str, ...] = option(("HS256",), "Signature algorithms accepted.")
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
        "redis://… or valkey://… to share state between processes.",
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


class ExecuteConfig(Section):
    enabled: bool = option(False, "Serve POST /execute.")
    require_isolation: Literal["process", "namespace"] | None = option(
        None, "Least isolation under which code is run; null: the best there is."
    )
