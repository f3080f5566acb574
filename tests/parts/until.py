"""Waiting for something to become true, with a deadline instead of a sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

POLL_S = 0.02


async def until(
    claim: Callable[[], object], what: str, *, timeout_s: float = 30.0
) -> None:
    """Wait until `claim()` is truthy; fails, saying `what`, when it stays false."""
    deadline = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(POLL_S)
