"""Errors in Anthropic's shape."""

from __future__ import annotations

from typing import Any

from providers.wire.translate.events import Failed
from providers.wire.translate.fields import load
from providers.wire.translate.messages.mapping import STATUS_OF_ERROR


def failed_of(found: dict[str, Any]) -> Failed:
    """Read an error envelope, or the event of that name."""
    error = found.get("error")
    if not isinstance(error, dict):
        return Failed(str(error or "unspecified error"))
    kind = str(error.get("type") or "api_error")
    return Failed(
        message=str(error.get("message") or kind),
        type=kind,
        code=str(error.get("code") or kind),
        status=STATUS_OF_ERROR.get(kind, 502),
    )


def read_error(body: bytes) -> Failed | None:
    """Read an error body; None where it is none."""
    try:
        found = load(body)
    except ValueError:
        return None
    if not isinstance(found, dict) or not found.get("error"):
        return None
    return failed_of(found)
