"""How many tokens a request may take, before anybody has counted them."""

from __future__ import annotations

from typing import Final

BYTES_PER_TOKEN: Final = 4
UNSAID_TOKENS: Final = 1024
"""What is set aside for an answer whose length the caller does not bound."""


def estimate_tokens(text_bytes: int, most_tokens: int, *, writes: bool = True) -> int:
    """Answer prompt and answer together, an answer only where the operation `writes`.

    `text_bytes` is the request as text, `most_tokens` the caller's bound for the
    answer, 0 without one.
    """
    prompt = (text_bytes + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN
    return prompt + ((most_tokens or UNSAID_TOKENS) if writes else 0)
