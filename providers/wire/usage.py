"""Token counts in the words of one place, whatever dialect they came in."""

from __future__ import annotations

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one request; None where the upstream did not say.

    `prompt` is the whole input, cached parts included (Anthropic's own count
    leaves them out). `reasoning` is part of `completion`. `cost_usd` is set only
    where the provider itself reports it (OpenRouter).
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    cost_usd: float | None = None
