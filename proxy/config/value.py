"""The configuration in force: one immutable value with everything resolved.

Made by `load`; tests and scripts may make one by hand, every field has a default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from proxy.config.kinds import ProviderType
from proxy.config.outbound import Outbound
from proxy.config.schema import (
    DiscoveryConfig,
    LoggingConfig,
    MetricsConfig,
    RoutingConfig,
    ServerConfig,
    StreamConfig,
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
from proxy.config.schema_providers import ClientTls, Wake


class Timeouts(Struct, frozen=True):
    """Deadlines towards a provider, in seconds; the defaults are a local one's.

    `first_byte` of a cloud is meant for streams: a whole reply may take `whole`.
    """

    connect: float = 5.0
    write: float = 60.0
    first_byte: float = 600.0
    idle: float = 120.0
    whole: float = 600.0


DEFAULT_TIMEOUTS: Final[Mapping[ProviderType, Timeouts]] = MappingProxyType(
    {"local": Timeouts(), "cloud": Timeouts(connect=10.0, first_byte=120.0)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfig:
    """One upstream, resolved.

    `keys` are the secrets themselves, the first is used first; with `forward_auth`
    for probes alone. `proxy` already
    heeds HTTPS_PROXY and NO_PROXY. `max_concurrent` None means no limit when
    `max_concurrent_given`, else whatever the server or its kind says. Times in
    seconds. `discovered`: found by the gateway, not written by the operator.
    """

    id: str
    kind: str
    endpoint: str
    name: str = ""
    type: ProviderType = "local"
    priority: int = 1
    enabled: bool = True
    max_concurrent: int | None = None
    max_concurrent_given: bool = False
    gpu: str | None = None
    location: str | None = None
    health_check_interval: float = 30.0
    health_check_timeout: float = 5.0
    health_check_path: str | None = None
    auth_type: str | None = None
    keys: tuple[str, ...] = field(default=(), repr=False)
    forward_auth: bool = False
    timeouts: Timeouts = field(default_factory=Timeouts)
    tls: ClientTls = field(default_factory=ClientTls)
    proxy: str | None = field(default=None, repr=False)
    wake: Wake | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    forward_headers: tuple[str, ...] = ()
    cache_salt: bool = False
    cost_per_1k_tokens: float | None = None
    discovered: bool = False

    @property
    def base_url(self) -> str:
        """The endpoint without closing slashes and without a closing /v1."""
        return base_url(self.endpoint)


def base_url(endpoint: str) -> str:
    """Cut closing slashes and one closing /v1 off an endpoint."""
    return re.sub(r"(?<=[^/])(/v1)?/*$", "", endpoint.rstrip("/"))


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that was decided before the start.

    `environment_keys` maps a cloud kind to the key found in the environment or
    on the command line, `local_keys` a local kind likewise (not every server of
    that kind asks for one). `local_hints` maps "ollama" and "lmstudio" to a base
    URL the operator named. `outbound` answers for addresses found later.
    `otlp_endpoint` is where traces go.
    """

    server: ServerConfig = field(default_factory=ServerConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    database: DatabaseConfig = field(default_factory=DatabaseConfig)
    state: StateConfig = field(default_factory=StateConfig)
    rate_limits: RateLimitsConfig = field(default_factory=RateLimitsConfig)
    priorities: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    cache: CacheConfig = field(default_factory=CacheConfig)
    routing: RoutingConfig = field(default_factory=RoutingConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    discovery: DiscoveryConfig = field(default_factory=DiscoveryConfig)
    providers: tuple[ProviderConfig, ...] = ()
    models: tuple[ModelConfig, ...] = ()
    embeddings: EmbeddingsConfig = field(default_factory=EmbeddingsConfig)
    budgets: BudgetsConfig = field(default_factory=BudgetsConfig)
    execute: ExecuteConfig = field(default_factory=ExecuteConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    data_dir: Path = Path("data")
    otlp_endpoint: str | None = None
    demo: bool = False
    environment_keys: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    local_keys: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    local_hints: Mapping[str, str] = field(default_factory=_nothing)
    outbound: Outbound = field(default_factory=Outbound)
