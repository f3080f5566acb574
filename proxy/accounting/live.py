"""The live tail as it is shown: requests as they finish, ready for JSON."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

from proxy.accounting.ledger_line import row_of
from proxy.accounting.shapes import shown_request
from proxy.accounting.tail import Tail
from proxy.config.schema import CurrencyConfig
from proxy.core import clock

Shown = tuple[list[dict[str, Any]], int]
"""Requests, and how many more there were that could not be told."""


async def watch(
    tail: Tail, currency: Callable[[], CurrencyConfig], pause_s: float
) -> AsyncGenerator[Shown]:
    """Yield what has finished in this process; nothing after each pause."""
    async for records, missed in tail.watch(pause_s):
        money, epoch_s = currency(), clock.wall() - clock.monotonic()
        rows = (row_of(one, epoch_s, money.code, money.per_usd) for one in records)
        yield [shown_request(row) for row in rows], missed
