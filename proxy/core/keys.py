"""A key as it is kept: the value that accounts, storage and the owner's tools share.

The secret itself is nowhere; proxy.auth.api_keys makes it, shows it once and forgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """One key. `hash` is the SHA-256 of the secret in hex; `prefix` may be shown.

    `models` empty: all. Rates read like `120/minute`; None leaves them to the
    configuration. Until `former_until` the secret before the last rotation is good
    too. Moments (`_at`, `_until`) are seconds since 1970. `revision` grows with each
    change to any key.
    """

    id: str
    name: str
    tenant: str
    hash: str = field(repr=False)
    prefix: str
    scopes: tuple[str, ...]
    created_at: float
    models: tuple[str, ...] = ()
    priority: int | None = None
    requests_rate: str | None = None
    tokens_rate: str | None = None
    concurrent: int | None = None
    daily_usd: float | None = None
    monthly_usd: float | None = None
    enabled: bool = True
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None
    former_hash: str | None = field(default=None, repr=False)
    former_until: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    revision: int = 0
