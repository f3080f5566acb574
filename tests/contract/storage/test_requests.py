from __future__ import annotations

from typing import Any

import pytest

from proxy.storage.database import Database
from proxy.storage.errors import DataRefused
from proxy.storage.filters import EVERYTHING, Filter
from proxy.storage.requests import AttemptRow, RequestRow, Requests
from proxy.storage.usage import Usage
from tests.parts.ledger_rows import DAY_US, NOON_US, USUAL, row, rows


async def test_a_request_comes_back_as_it_was_kept(database: Database) -> None:
    requests = Requests(database)
    changes: dict[str, Any] = {
        "client_request_id": "theirs",
        "parent_id": "req_parent",
        "depth": 2,
        "end_user": "größe",
        "stream": True,
        "code": "upstream_error",
        "status": 502,
        "cached_tokens": 2**40,
        "cache_write_tokens": 0,
        "cost_usd": None,
        "cache": "miss",
        "source": "agents",
    }
    tried = [["gpu", "Qwen/Qwen", 503, "model_loading"], ["cloud", None, None, None]]
    assert await requests.insert([row("req_1", tried, **changes)]) == 1
    assert await requests.get("req_1") == RequestRow(
        **{"id": "req_1", **USUAL, **changes},
        attempts=(
            AttemptRow(
                number=1,
                provider="gpu",
                upstream_model="Qwen/Qwen",
                status=503,
                code="model_loading",
            ),
            AttemptRow(
                number=2, provider="cloud", upstream_model=None, status=None, code=None
            ),
        ),
    )
    assert await requests.get("req_2") is None


@pytest.mark.parametrize("count", [1, 16, 145, 300])
async def test_batches_of_any_size_are_kept_whole(
    database: Database, count: int
) -> None:
    requests = Requests(database)
    assert await requests.insert(rows(count)) == count
    kept = await requests.page(EVERYTHING, limit=1000)
    assert [found.id for found in kept] == [r[0] for r in reversed(rows(count))]
    assert all(len(found.attempts) == 1 for found in kept)


async def test_what_comes_again_is_kept_and_counted_once(database: Database) -> None:
    requests, usage = Requests(database), Usage(database)
    assert await requests.insert(rows(20)) == 20
    assert await requests.insert(rows(30)) == 10
    assert await requests.insert([*rows(30), row("new"), row("new")]) == 1
    assert await requests.insert([]) == 0
    assert await requests.count() == 31
    (day,) = await usage.sums()
    assert (day.requests, day.prompt_tokens) == (31, 3100)


async def test_a_batch_that_is_refused_leaves_nothing(database: Database) -> None:
    requests = Requests(database)
    with pytest.raises(DataRefused):
        await requests.insert([*rows(3), row("bad", bytes_out=2**70)])
    assert await requests.count() == 0
    assert await Usage(database).sums() == ()


async def test_pages_follow_each_other_without_gap_or_overlap(
    database: Database,
) -> None:
    requests = Requests(database)
    # many begin in the same microsecond
    await requests.insert(
        [row(f"req_{n:02}", started_us=NOON_US + n // 7) for n in range(25)]
    )
    seen: list[str] = []
    after = None
    while page := await requests.page(EVERYTHING, limit=4, after=after):
        seen += [found.id for found in page]
        after = (page[-1].started_us, page[-1].id)
    assert seen == [f"req_{n:02}" for n in reversed(range(25))]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (Filter(tenant="b"), ["3"]),
        (Filter(key_id="k2"), ["2"]),
        (Filter(model="m2"), ["2"]),
        (Filter(provider="p2"), ["1"]),
        (Filter(client_request_id="theirs"), ["0"]),
        (Filter(statuses=(400, 499)), ["1"]),
        (Filter(statuses=(200, 200)), ["3", "2", "0"]),
        (Filter(since_us=NOON_US + 1), ["3", "2", "1"]),
        (Filter(until_us=NOON_US + 2), ["1", "0"]),
        (Filter(tenant="a", statuses=(200, 299), since_us=NOON_US + 1), ["2"]),
        (Filter(tenant="' OR 1=1 --"), []),
    ],
)
async def test_filters_choose(
    database: Database, which: Filter, expected: list[str]
) -> None:
    requests = Requests(database)
    await requests.insert(
        [
            row("0", tenant="a", started_us=NOON_US, client_request_id="theirs"),
            row("1", tenant="a", started_us=NOON_US + 1, status=404, provider="p2"),
            row("2", tenant="a", started_us=NOON_US + 2, key_id="k2", model="m2"),
            row("3", tenant="b", started_us=NOON_US + 3),
        ]
    )
    found = await requests.page(which, limit=10)
    assert [request.id for request in found] == expected


async def test_the_old_go_a_slice_at_a_time_and_their_usage_stays(
    database: Database,
) -> None:
    requests, usage = Requests(database), Usage(database)
    await requests.insert(rows(5, "old_"))
    await requests.insert(rows(2, "new_", started_us=NOON_US + DAY_US))
    assert await requests.delete_before(NOON_US + 1, limit=3) == 3
    assert await requests.delete_before(NOON_US + 1, limit=3) == 2
    assert await requests.delete_before(NOON_US + 1, limit=3) == 0
    left = await requests.page(EVERYTHING, limit=10)
    assert [(found.id, len(found.attempts)) for found in left] == [
        ("new_000001", 1),
        ("new_000000", 1),
    ]
    assert [day.requests for day in await usage.sums()] == [5, 2]
    # attempts have gone with their requests: the id is as new
    await requests.insert([row("old_000000", [])])
    again = await requests.get("old_000000")
    assert again is not None
    assert again.attempts == ()
