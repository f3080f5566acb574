"""What its owner decides about a key, and the checks of whoever does."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct, field

from proxy.auth.permission import SCOPES
from proxy.core.errors import CallerFault

_LONGEST_NAME: Final = 128
_LONGEST_PATTERN: Final = 256
_MOST_PATTERNS: Final = 256
_METADATA_BYTES: Final = 16_384
# As the configuration's: proxy.config.schema_policy.Rate.
_is_rate: Final = re.compile(r"[1-9]\d{0,14}/(second|minute|hour|day)").fullmatch


class KeyFields(Struct, frozen=True, kw_only=True):
    """What its owner decides about a key; see KeyRow."""

    name: str
    tenant: str = "default"
    scopes: tuple[str, ...] = ("inference",)
    models: tuple[str, ...] = ()
    priority: int | None = None
    requests_rate: str | None = None
    tokens_rate: str | None = None
    concurrent: int | None = None
    daily_usd: float | None = None
    monthly_usd: float | None = None
    enabled: bool = True
    expires_at: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def check_fields(wanted: KeyFields, now: float | None) -> None:
    """Raise CallerFault `invalid_field`, its `param` the field.

    `now` is None where the expiry need not lie ahead.
    """
    _check_text("name", wanted.name)
    _check_text("tenant", wanted.tenant)
    _check_lists(wanted)
    for name, rate in (
        ("requests_rate", wanted.requests_rate),
        ("tokens_rate", wanted.tokens_rate),
    ):
        _require(
            rate is None or _is_rate(rate), name, "should read like 120/minute, above 0"
        )
    _require(
        wanted.concurrent is None or wanted.concurrent >= 1,
        "concurrent",
        "should be 1 or more",
    )
    _require(
        wanted.priority is None or 0 <= wanted.priority <= 1000,
        "priority",
        "should be from 0 to 1000; the lower goes first",
    )
    for name, amount in (
        ("daily_usd", wanted.daily_usd),
        ("monthly_usd", wanted.monthly_usd),
    ):
        is_amount = amount is None or (math.isfinite(amount) and amount >= 0)
        _require(is_amount, name, "should be 0 or more")
    at = wanted.expires_at
    _require(at is None or math.isfinite(at), "expires_at", "should be a moment")
    if at is not None and now is not None:
        _require(at > now, "expires_at", "has passed")
    _check_metadata(wanted.metadata)


def _check_lists(wanted: KeyFields) -> None:
    unknown = sorted(set(wanted.scopes) - SCOPES)
    _require(
        not unknown,
        "scopes",
        f"has no meaning for {', '.join(unknown)}; there are {', '.join(sorted(SCOPES))}",
    )
    _require(bool(wanted.scopes), "scopes", "should name one at least")
    _require(len(wanted.models) <= _MOST_PATTERNS, "models", "are too many")
    for pattern in wanted.models:
        _require(
            0 < len(pattern) <= _LONGEST_PATTERN and pattern.isprintable(),
            "models",
            "should be names of models, or patterns with a *",
        )


def _check_text(name: str, text: str) -> None:
    _require(
        0 < len(text) <= _LONGEST_NAME and text.isprintable() and text == text.strip(),
        name,
        f"should be 1 to {_LONGEST_NAME} printable characters",
    )


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    try:
        size = len(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        size = _METADATA_BYTES + 1
    _require(
        size <= _METADATA_BYTES,
        "metadata",
        f"should be JSON of {_METADATA_BYTES} bytes",
    )


def _require(condition: object, name: str, message: str) -> None:
    if not condition:
        raise CallerFault("invalid_field", f"{name} {message}.", param=name)
