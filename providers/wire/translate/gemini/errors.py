"""Errors in Google's shape, also when wrapped in a list of one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from providers.wire.envelopes import Problem
from providers.wire.translate.events import Failed
from providers.wire.translate.fields import load
from providers.wire.translate.gemini.mapping import STATUS_NAMES

_CODES: Final[Mapping[str, int]] = MappingProxyType(
    {name: code for code, name in STATUS_NAMES.items()}
)


def failed_of(found: dict[str, Any]) -> Failed:
    """Read an error envelope."""
    error = found.get("error")
    if not isinstance(error, dict):
        return Failed(str(error or "unspecified error"))
    status = error.get("code")
    name = str(error.get("status") or "")
    if not isinstance(status, int) or not 400 <= status < 600:
        status = _CODES.get(name, 502)
    kind = name or "upstream_error"
    return Failed(str(error.get("message") or kind), kind, kind, status)


def read_error(body: bytes) -> Failed | None:
    """Read an error body; None where it is none."""
    try:
        found = load(body)
    except ValueError:
        return None
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict) or not found.get("error"):
        return None
    return failed_of(found)


def error_object(problem: Problem) -> dict[str, Any]:
    """Build the envelope of an error."""
    other = "INVALID_ARGUMENT" if 400 <= problem.status < 500 else "INTERNAL"
    return {
        "error": {
            "code": problem.status,
            "message": problem.message,
            "status": STATUS_NAMES.get(problem.status, other),
        }
    }
