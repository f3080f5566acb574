from __future__ import annotations

import asyncio

import pytest

from proxy.accounting.retention import Retention
from proxy.storage.errors import DatabaseAway

NOW = 1_790_000_000.0
DAY_S = 86_400


class Table:
    """Holds moments; removes at most two at a time."""

    def __init__(self, *moments: float) -> None:
        self.moments = list(moments)
        self.away = False

    async def delete_before(self, moment: float) -> int:
        if self.away:
            raise DatabaseAway("locked")
        old = [known for known in self.moments if known < moment][:2]
        for one in old:
            self.moments.remove(one)
        return len(old)


def retention(
    requests: Table, responses: Table, bodies: Table | None = None, **options: object
) -> Retention:
    bodies = bodies or Table()

    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    options.setdefault("sleep", sleep)
    return Retention(
        requests,
        responses,
        bodies,
        days=lambda: 30,
        responses_days=lambda: 1,
        wall=lambda: NOW,
        **options,  # type: ignore[arg-type]
    )


async def test_all_that_is_too_old_goes_and_nothing_else() -> None:
    limit_us = int((NOW - 30 * DAY_S) * 1e6)
    requests = Table(*(limit_us - n for n in range(-1, 6)))
    responses = Table(NOW - DAY_S - 1, NOW - DAY_S, NOW)
    bodies = Table(NOW - 31 * DAY_S, NOW - 30 * DAY_S - 1, NOW - 30 * DAY_S, NOW)
    assert await retention(requests, responses, bodies).remove() == 8
    assert bodies.moments == [NOW - 30 * DAY_S, NOW]
    assert requests.moments == [limit_us + 1, limit_us]
    assert responses.moments == [NOW - DAY_S, NOW]


async def test_it_goes_on_when_the_database_was_away() -> None:
    requests, responses = Table(1.0), Table()
    requests.away = True
    pauses = 0

    async def sleep(_: float) -> None:
        nonlocal pauses
        pauses += 1
        requests.away = pauses < 3
        if not requests.moments:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await retention(requests, responses, sleep=sleep).run()
    assert pauses >= 3
