"""The caller's credential, in whichever of the usual fields it was sent."""

from __future__ import annotations

from typing import Final

from proxy.core.errors import CallerFault
from proxy.core.types import Headers

_FIELDS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")


def credential(headers: Headers) -> str | None:
    """Answer what the caller shows, None if nothing.

    Raises CallerFault `invalid_token` when two fields disagree.
    """
    given = {_bare(value) for name in _FIELDS for value in headers.all(name)} - {""}
    if len(given) > 1:
        raise CallerFault(
            "invalid_token", "The request carries two credentials that differ."
        )
    return given.pop() if given else None


def _bare(value: str) -> str:
    """`Bearer X` and a bare X are the same."""
    scheme, _, rest = value.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else value.strip()
