"""Keys as owners see and write them: in /admin/keys and by the command line alike.

    {"id", "name", "tenant", "prefix", "scopes", "models", "priority",
     "limits": {"requests", "tokens", "concurrent"},
     "budget": {"daily_usd", "monthly_usd"}, "enabled", "expires_at", "metadata",
     "state", "created_at", "last_used_at", "revoked_at", "former_until"}

Moments are text in UTC; one that is written may also be seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from msgspec.structs import replace

from proxy.auth.key_fields import KeyFields
from proxy.core.errors import CallerFault
from proxy.core.keys import KeyRow

# What is written, and the type that it must have; None is always what it was before
# anybody said anything.
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "name": (str,), "tenant": (str,), "scopes": (list,), "models": (list,),
    "priority": (int,), "enabled": (bool,), "metadata": (dict,),
    "limits": (dict,), "budget": (dict,), "expires_at": (str, int, float),
}  # fmt: skip
_LIMITS: Final[Mapping[str, str]] = {
    "requests": "requests_rate", "tokens": "tokens_rate", "concurrent": "concurrent",
}  # fmt: skip
_BUDGET: Final[Mapping[str, str]] = {
    "daily_usd": "daily_usd", "monthly_usd": "monthly_usd",
}  # fmt: skip
_PARTS: Final[Mapping[str, tuple[type, ...]]] = {
    "requests": (str,), "tokens": (str,), "concurrent": (int,),
    "daily_usd": (int, float), "monthly_usd": (int, float),
}  # fmt: skip
_NAMES: Final[Mapping[type, str]] = {
    str: "text", list: "a list of texts", int: "a whole number", float: "a number",
    bool: "true or false", dict: "an object",
}  # fmt: skip
_UNSAID: Final = KeyFields(name="")


def shown_key(row: KeyRow, now: float) -> dict[str, Any]:
    """Answer a key for JSON; nothing of it leads back to its secret."""
    return {
        "id": row.id,
        "name": row.name,
        "tenant": row.tenant,
        "prefix": row.prefix,
        "state": state_of(row, now),
        "scopes": list(row.scopes),
        "models": list(row.models),
        "priority": row.priority,
        "limits": {name: getattr(row, of) for name, of in _LIMITS.items()},
        "budget": {name: getattr(row, of) for name, of in _BUDGET.items()},
        "enabled": row.enabled,
        "created_at": _moment(row.created_at),
        "expires_at": _moment(row.expires_at),
        "last_used_at": _moment(row.last_used_at),
        "revoked_at": _moment(row.revoked_at),
        "former_until": _moment(row.former_until),
        "metadata": dict(row.metadata),
    }


def state_of(row: KeyRow, now: float) -> str:
    """Say in one word whether it may be used: good, disabled, expired, revoked."""
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is not None and row.expires_at <= now:
        return "expired"
    return "good" if row.enabled else "disabled"


def read_new(given: Mapping[str, Any]) -> KeyFields:
    """Read what a new key shall be. Raises CallerFault `missing_field`, `invalid_field`."""
    if given.get("name") is None:
        raise CallerFault("missing_field", "A key needs a name.", param="name")
    return read_change(given)(_UNSAID)


def read_change(given: Mapping[str, Any]) -> Callable[[KeyFields], KeyFields]:
    """Read what shall be changed about a key: the members that are there.

    null makes one what it is for a key of which nothing is said; what stands within
    `limits` and `budget` is changed one by one likewise. Raises CallerFault
    `invalid_field`.
    """
    values: dict[str, Any] = {}
    for name, value in given.items():
        _check(name, name, value, _TYPES)
        if name in ("limits", "budget"):
            values |= _parts(name, value, _LIMITS if name == "limits" else _BUDGET)
        elif value is None:
            values[name] = getattr(_UNSAID, name)
        else:
            values[name] = _value(name, value)
    return lambda before: replace(before, **values)


def _parts(of: str, value: Any, names: Mapping[str, str]) -> dict[str, Any]:
    if value is None:
        return dict.fromkeys(names.values())
    for name, part in value.items():
        _check(f"{of}.{name}", name, part, {known: _PARTS[known] for known in names})
    return {names[name]: part for name, part in value.items()}


def _value(name: str, value: Any) -> Any:
    if name == "expires_at":
        return _seconds(value)
    if name not in ("scopes", "models"):
        return value
    if not all(isinstance(one, str) for one in value):
        raise _wrong(name, "a list of texts")
    return tuple(dict.fromkeys(value))


def _check(
    param: str, name: str, value: Any, known: Mapping[str, tuple[type, ...]]
) -> None:
    types = known.get(name)
    if types is None:
        message = f"{param} is not known; there are {', '.join(known)}."
        raise CallerFault("invalid_field", message, param=param)
    if value is None:
        return
    is_stray = isinstance(value, bool) and bool not in types
    if is_stray or not isinstance(value, types):
        raise _wrong(param, _NAMES[types[-1]])


def _seconds(value: str | float) -> float:
    if not isinstance(value, str):
        return float(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise _wrong("expires_at", "a moment like 2026-12-31T00:00:00Z") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _wrong(param: str, expected: str) -> CallerFault:
    return CallerFault("invalid_field", f"{param} must be {expected}.", param=param)


def _moment(at: float | None) -> str | None:
    if at is None:
        return None
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return None  # further off than any calendar goes
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
