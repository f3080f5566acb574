"""Whom a request says it is made for: the `user` of its body, in each dialect's words."""

from __future__ import annotations

from typing import Final, Protocol

from providers.wire.members import WrongType
from proxy.core.errors import CallerFault

_LONGEST: Final = 256


class Body(Protocol):
    def value(self, name: str) -> object: ...


def end_user(body: Body) -> str | None:
    """Answer `user`, or Anthropic's `metadata.user_id`; None where there is neither."""
    try:
        found = body.value("user")
        if found is None and isinstance(metadata := body.value("metadata"), dict):
            found = metadata.get("user_id")
    except (CallerFault, WrongType):  # it cannot be read: whoever serves it will say so
        return None
    return found[:_LONGEST] if isinstance(found, str) and found else None
