"""What is refused, in the words of a command line: its flags in place of our fields."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.core.errors import GatewayError

FAILED, BAD_USAGE = 1, 2
_WRONG = frozenset({"invalid_field", "missing_field"})


def by_flag(error: GatewayError, flags: Mapping[str, str]) -> tuple[str, int]:
    """Answer what to say and the exit code; `flags` are the flags by field."""
    code = BAD_USAGE if error.code in _WRONG else FAILED
    field, message = error.param, error.message
    flag = None if field is None else flags.get(field)
    if field is None or flag is None:
        return message, code
    for form in (f"`{field}`", field):
        if message.startswith(form):
            return flag + message.removeprefix(form), code
    return f"{flag}: {message}", code
