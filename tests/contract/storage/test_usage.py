from __future__ import annotations

import asyncio

import pytest

from proxy.storage.database import Database
from proxy.storage.filters import EVERYTHING, Filter, day_of
from proxy.storage.requests import Requests
from proxy.storage.usage import Usage, UsageRow
from tests.parts.ledger_rows import DAY_US, NOON_US, row, rows

TODAY, TOMORROW = day_of(NOON_US), day_of(NOON_US + DAY_US)


async def test_a_day_adds_up_what_was_used(database: Database) -> None:
    await Requests(database).insert(
        [
            row("0", cached_tokens=7, cache_write_tokens=3),
            row("1", usage_source="estimate", status=499),
            row("2", cost_usd=None),
            row("3", cost_usd=None, usage_source="none", prompt_tokens=None),
        ]
    )
    assert await Usage(database).sums() == (
        UsageRow(
            day=TODAY,
            requests=4,
            errors=1,
            prompt_tokens=300,
            completion_tokens=80,
            cached_tokens=7,
            cache_write_tokens=3,
            reasoning_tokens=20,
            estimated=1,
            unpriced=1,
            cost_usd=pytest.approx(0.000246),
            duration_us=4_000_000,
        ),
    )


async def test_sums_are_by_what_is_asked(database: Database) -> None:
    usage = Usage(database)
    await Requests(database).insert(
        [
            row("0", tenant="a", key_id=None),
            row("1", tenant="a", model="other", started_us=NOON_US + DAY_US),
            row("2", tenant="b", provider="cloud"),
        ]
    )

    async def groups(which: Filter, *by: str) -> list[tuple[str, ...]]:
        return [
            (*(getattr(found, name) for name in by), str(found.requests))
            for found in await usage.sums(which, by)
        ]

    assert await groups(EVERYTHING) == [("3",)]
    assert await groups(EVERYTHING, "tenant") == [("a", "2"), ("b", "1")]
    assert await groups(EVERYTHING, "key_id") == [("", "1"), ("key_a", "2")]
    assert await groups(EVERYTHING, "day", "model") == [
        (TODAY, "qwen", "2"),
        (TOMORROW, "other", "1"),
    ]
    assert await groups(Filter(provider="cloud"), "tenant") == [("b", "1")]
    assert await groups(Filter(since_us=NOON_US + DAY_US)) == [("1",)]
    # the day in which the end falls belongs to it, the next one does not
    assert await groups(Filter(until_us=NOON_US)) == [("2",)]
    assert await groups(Filter(tenant="nobody")) == []


async def test_names_that_callers_make_up_are_not_kept_apart(
    database: Database,
) -> None:
    await Requests(database).insert(
        [row(str(n), [], model=f"no-{n}", provider=None, status=404) for n in range(9)]
    )
    (day,) = await Usage(database).sums(by=("model",))
    assert (day.model, day.requests, day.errors) == ("", 9, 9)


async def test_two_processes_add_to_the_same_sums(url: str) -> None:
    async with Database(url) as one, Database(url) as other:
        await one.prepare()
        await asyncio.gather(
            *(
                Requests((one, other)[part % 2]).insert(
                    [
                        row(f"{part}-{n}", tenant=f"team-{(n + part) % 5}")
                        for n in range(20)
                    ]
                )
                for part in range(10)
            )
        )
        assert [day.requests for day in await Usage(one).sums(by=("tenant",))] == [
            40
        ] * 5


async def test_costs_add_up_to_the_micro_dollar(database: Database) -> None:
    requests, usage = Requests(database), Usage(database)
    for part in range(4):
        await requests.insert(rows(250, f"{part}-", cost_usd=0.000_000_3))
    (day,) = await usage.sums()
    assert round(day.cost_usd, 9) == 0.0003


async def test_what_was_spent_is_told_by_day_of_a_key_or_a_tenant(
    database: Database,
) -> None:
    await Requests(database).insert(
        [
            row("0", tenant="a", key_id="k1", cost_usd=0.25),
            row("1", tenant="a", key_id="k2", cost_usd=0.5),
            row(
                "2", tenant="a", key_id="k1", started_us=NOON_US + DAY_US, cost_usd=1.0
            ),
            row("3", tenant="b", key_id="k3", cost_usd=2.0),
            row("4", tenant="a", key_id="k1", cost_usd=None),
        ]
    )
    usage = Usage(database)
    assert await usage.spent_by_day("key", "k1", TODAY) == {TODAY: 0.25, TOMORROW: 1.0}
    assert await usage.spent_by_day("tenant", "a", TODAY) == {
        TODAY: 0.75,
        TOMORROW: 1.0,
    }
    assert await usage.spent_by_day("tenant", "a", TOMORROW) == {TOMORROW: 1.0}
    assert await usage.spent_by_day("tenant", "k1", TODAY) == {}
