"""The file: every key of the gateway itself, with default, unit and meaning.

Providers and models are in schema_providers, what guards accounts and money in
schema_policy. docs/configuration.md is generated from these declarations.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from proxy.config.base import (
    Amount,
    Count,
    Map,
    Port,
    Positive,
    Ratio,
    Seconds,
    SecondsOrZero,
    Section,
    empty_map,
    option,
)
from proxy.config.schema_models import ModelConfig
from proxy.config.schema_policy import (
    AuthConfig,
    BudgetsConfig,
    CacheConfig,
    DatabaseConfig,
    EmbeddingsConfig,
    ExecuteConfig,
    RateLimitsConfig,
    StateConfig,
)
from proxy.config.schema_providers import ProviderEntry


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError("should be an IP address or network such as 10.0.0.0/8") from (
            None
        )


def _origin(text: str) -> str:
    if text == "*":
        return text
    parts = urlsplit(text)
    if not parts.scheme or not parts.netloc or parts.path not in ("", "/"):
        raise ValueError("should be an origin such as https://app.example, or *")
    return text.rstrip("/")


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:\[\]*-]+", text) or text.count(":") == 1:
        raise ValueError("should be a host name or address, without scheme or port")
    return text


def _level(value: object) -> object:
    if not isinstance(value, str):
        return value
    lowered = value.lower()
    return {"warn": "warning", "critical": "error", "fatal": "error"}.get(
        lowered, lowered
    )


Host = Annotated[str, AfterValidator(_host)]
Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level)]


class CorsConfig(Section):
    allowed_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = option(
        (), "Web origins that may call, besides the gateway's own and loopback."
    )


class ServerTls(Section):
    cert_file: str = option(..., "PEM file with the certificate and its chain.")
    key_file: str = option(..., "PEM file with the private key.")


class ServerConfig(Section):
    host: Host = option("127.0.0.1", "Address to listen on; 0.0.0.0 is every one.")
    port: Port = option(3500, "TCP port to listen on; 0 takes a free one.")
    workers: Positive = option(1, "Processes that serve.", unit="processes")
    max_body_bytes: Positive = option(
        33554432, "Largest request body, counted inflated.", unit="bytes"
    )
    drain_seconds: SecondsOrZero = option(
        30, "How long running requests may take to end at shutdown.", unit="seconds"
    )
    head_timeout_seconds: Seconds = option(
        15, "How long a request's head may take to arrive.", unit="seconds"
    )
    body_idle_seconds: Seconds = option(
        30, "Longest pause while a request's body arrives.", unit="seconds"
    )
    idle_keep_alive_seconds: Seconds = option(
        75, "How long an idle connection is kept for the next request.", unit="seconds"
    )
    allowed_hosts: tuple[Host, ...] = option(
        (), "Host names callers may use, besides addresses and local names."
    )
    cors: CorsConfig = option(CorsConfig, "Which web pages may call.")
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = option(
        (), "Reverse proxies whose X-Forwarded-For is believed."
    )
    tls: ServerTls | None = option(None, "Serve HTTPS; null for plain HTTP.")
    fast_path: bool = option(True, "Take ordinary requests by the short way.")
    watch_config: bool = option(
        True, "Reload when the configuration file changes, not only when asked."
    )


class StreamConfig(Section):
    keep_alive_seconds: Seconds = option(
        15, "Silence after which a stream gets a comment.", unit="seconds"
    )
    keep_alive_before_headers: bool = option(
        True, "Commit status 200 and send comments while the upstream is silent."
    )
    max_event_bytes: Positive = option(
        8388608, "Longest single event of a stream.", unit="bytes"
    )


class RetryConfig(Section):
    backoff_seconds: SecondsOrZero = option(
        1.0, "Pause before the only provider is asked again.", unit="seconds"
    )
    budget_ratio: Ratio = option(
        0.2, "Retries allowed, as a share of requests.", unit="ratio"
    )


class QueueConfig(Section):
    max_wait_seconds: SecondsOrZero = option(
        60, "How long a request waits for a free slot.", unit="seconds"
    )
    max_length: Count = option(256, "Requests that may wait.", unit="requests")


class RoutingConfig(Section):
    default_model: str | None = option(
        None, "Model for requests that name `auto`; null: the one with isDefault."
    )
    default_provider: str | None = option(
        None, "Provider id for /v1 paths of no model; null: the first local one."
    )
    affinity: bool = option(
        True, "Send a session, and shared prefixes, where they were served before."
    )
    retry: RetryConfig = option(RetryConfig, "Asking again after a failure.")
    queue: QueueConfig = option(QueueConfig, "Waiting for a slot.")


class DiscoveryConfig(Section):
    enabled: bool = option(
        True, "Look for local servers on usual ports and keys in the environment."
    )
    refresh_seconds: Seconds = option(
        60, "How often servers and their models are looked for.", unit="seconds"
    )


class RequestLogConfig(Section):
    enabled: bool = option(True, "Write one line per request.")
    retain_days: Count = option(
        30, "How long records are kept in the database; 0: none are.", unit="days"
    )
    bodies: bool = option(
        False,
        "Keep what was asked and answered with the records, up to 256 KiB of each.",
    )


class LoggingConfig(Section):
    level: Level = option("info", "debug, info, warning or error.")
    format: Literal["text", "json"] = option("text", "text for people, or json.")
    request_log: RequestLogConfig = option(RequestLogConfig, "Records of requests.")


class CurrencyConfig(Section):
    code: str = option("USD", "Currency in which costs are shown.")
    per_usd: Amount = option(1.0, "What one US dollar is worth in it.", unit="ratio")


class MetricsConfig(Section):
    public: bool = option(False, "Let anybody read /metrics, not only this machine.")
    currency: CurrencyConfig = option(CurrencyConfig, "How costs are shown.")


class File(Section):
    """The whole file."""

    server: ServerConfig = option(ServerConfig, "Listening and limits.")
    auth: AuthConfig = option(AuthConfig, "Who may call.")
    database: DatabaseConfig = option(DatabaseConfig, "Durable data.")
    state: StateConfig = option(StateConfig, "Shared volatile state.")
    rate_limits: RateLimitsConfig = option(RateLimitsConfig, "Limits per caller.")
    priorities: Map[int] = option(
        empty_map, "Key name pattern → priority in the queue; lower goes first."
    )
    cache: CacheConfig = option(CacheConfig, "Cache of replies.")
    routing: RoutingConfig = option(RoutingConfig, "Choosing where a request goes.")
    stream: StreamConfig = option(StreamConfig, "Streamed replies.")
    discovery: DiscoveryConfig = option(DiscoveryConfig, "Finding providers.")
    providers: tuple[ProviderEntry, ...] = option((), "Upstreams.")
    models: tuple[ModelConfig, ...] = option((), "Names that callers may use.")
    embeddings: EmbeddingsConfig = option(EmbeddingsConfig, "Embeddings.")
    budgets: BudgetsConfig = option(BudgetsConfig, "Money.")
    execute: ExecuteConfig = option(ExecuteConfig, "Running code.")
    logging: LoggingConfig = option(LoggingConfig, "What is logged.")
    metrics: MetricsConfig = option(MetricsConfig, "What is measured.")
