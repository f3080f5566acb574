"""The x-ratelimit-* fields, as OpenAI's clients read them: lines of a reply's head."""

from __future__ import annotations

import math
from collections.abc import Sequence

from proxy.state.base import Level, Rate


def heading(kind: str, rate: Rate) -> str:
    """Write what comes before the numbers; `kind` ends the names. Made once a plan."""
    limit = f"x-ratelimit-limit-{kind}: {int(rate.amount)}\r\n"
    return f"{limit}x-ratelimit-remaining-{kind}: "


def rate_lines(kind: str, headings: Sequence[str], levels: Sequence[Level]) -> str:
    """Say how the tightest of several allowances stands."""
    if not levels:
        return ""
    at = 0
    if len(levels) > 1:
        at = min(range(len(levels)), key=lambda i: levels[i].remaining)
    level = levels[at]
    return (
        f"{headings[at]}{int(level.remaining + 1e-6)}\r\n"
        f"x-ratelimit-reset-{kind}: {duration(level.reset_s)}\r\n"
    )


def duration(seconds: float) -> str:
    """Write a span as Go does, rounded up: `12ms`, `1.5s`, `6m0s`, `2h0m0s`."""
    milliseconds = math.ceil(seconds * 1000 - 1e-3)
    if milliseconds <= 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:g}s"
    minutes, rest = divmod(math.ceil(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
