"""Errors in chat's shape, and in the shapes that compatible servers give them."""

from __future__ import annotations

from typing import Any

from providers.wire.translate.events import Failed
from providers.wire.translate.fields import load


def failed_of(found: dict[str, Any]) -> Failed:
    """Read the `error` member: an object, or text. OpenRouter's code is a status."""
    error = found.get("error")
    if not isinstance(error, dict):
        return Failed(str(error or "unspecified error"))
    code = error.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 502
    return Failed(
        message=str(error.get("message") or code or "unspecified error"),
        type=str(error.get("type") or "upstream_error"),
        code=code if isinstance(code, str) and code else "upstream_error",
        status=status,
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
