"""The x-ratelimit-* fields, as OpenAI's clients read them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from proxy.core.types import Pair
from proxy.state.base import Charge, Level


def rate_headers(kind: str, stands: Iterable[tuple[Charge, Level]]) -> tuple[Pair, ...]:
    """Say how the tightest of several allowances stands; `kind` ends the names."""
    tightest = min(stands, key=lambda pair: pair[1].remaining, default=None)
    if tightest is None:
        return ()
    charge, level = tightest
    return (
        (f"x-ratelimit-limit-{kind}", str(int(charge.rate.amount))),
        (f"x-ratelimit-remaining-{kind}", str(int(level.remaining + 1e-6))),
        (f"x-ratelimit-reset-{kind}", duration(level.reset_s)),
    )


def duration(seconds: float) -> str:
    """Write a span as Go does, rounded up: `12ms`, `1.5s`, `6m0s`, `2h0m0s`."""
    milliseconds = math.ceil(seconds * 1000 - 1e-3)
    if milliseconds <= 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(math.ceil(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
