from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from proxy.core.keys import KeyRow
from proxy.storage.database import Database
from proxy.storage.errors import DataRefused
from proxy.storage.keys import Keys


def key(name: str = "a", **changes: object) -> KeyRow:
    row = KeyRow(
        id=f"key_{name}",
        name=name,
        tenant="team",
        hash=f"hash of {name}",
        prefix="lai_0123",
        scopes=("inference",),
        created_at=1000.0 + ord(name[0]),
    )
    return replace(row, **changes)  # type: ignore[arg-type]


async def test_a_key_comes_back_as_it_was_kept(database: Database) -> None:
    keys = Keys(database)
    row = key(
        scopes=("inference", "admin"),
        models=("qwen*", "größe"),
        priority=0,
        requests_rate="120/minute",
        tokens_rate="200000/minute",
        concurrent=4,
        daily_usd=0.1,
        monthly_usd=12.5,
        enabled=False,
        expires_at=2e9 + 0.25,
        revoked_at=5.5,
        last_used_at=6.5,
        former_hash="old",
        former_until=7.5,
        metadata={"for": ["a", {"b": None}]},
    )
    added = await keys.add(row)
    assert added == replace(row, revision=1)
    assert await keys.get(row.id) == added
    assert await keys.all() == (added,)


async def test_what_is_not_there_is_none(database: Database) -> None:
    keys = Keys(database)
    assert await keys.get("key_none") is None
    assert await keys.all() == ()
    assert await keys.replace(key()) is None


async def test_two_keys_never_share_an_id_or_a_secret(database: Database) -> None:
    keys = Keys(database)
    await keys.add(key("a"))
    with pytest.raises(DataRefused):
        await keys.add(key("a", hash="another"))
    with pytest.raises(DataRefused):
        await keys.add(key("b", hash="hash of a"))
    assert [row.id for row in await keys.all()] == ["key_a"]


async def test_a_change_is_seen_by_who_asks_what_came_since(database: Database) -> None:
    keys = Keys(database)
    assert await keys.revision() == 0
    first, second = await keys.add(key("a")), await keys.add(key("b"))
    assert await keys.revision() == second.revision
    changed = await keys.replace(replace(first, enabled=False))
    assert changed == replace(first, enabled=False, revision=second.revision + 1)
    assert await keys.changed_since(second.revision) == (changed,)


async def test_who_read_an_older_version_changes_nothing(database: Database) -> None:
    keys = Keys(database)
    read = await keys.add(key())
    await keys.replace(replace(read, name="new"))
    assert await keys.replace(replace(read, enabled=False)) is None
    after = await keys.get(read.id)
    assert after is not None
    assert (after.name, after.enabled) == ("new", True)


async def test_use_is_noted_without_a_change_and_never_backwards(
    database: Database,
) -> None:
    keys = Keys(database)
    row = await keys.add(key("a"))
    await keys.add(key("b"))
    await keys.touch({"key_b": 50.0, row.id: 20.0})
    await keys.touch({row.id: 10.0, "key_unknown": 1.0})
    await keys.touch({})
    assert [found.last_used_at for found in await keys.all()] == [20.0, 50.0]
    assert await keys.revision() == 2
    # who wrote the key without knowing of its use does not undo it
    assert (await keys.replace(row)) == replace(row, last_used_at=20.0, revision=3)


async def test_changes_at_the_same_time_have_their_own_numbers(url: str) -> None:
    async with Database(url) as one, Database(url) as other:
        await one.prepare()
        added = await asyncio.gather(
            *(
                Keys((one, other)[number % 2]).add(key(chr(97 + number)))
                for number in range(12)
            )
        )
        assert sorted(row.revision for row in added) == list(range(1, 13))
