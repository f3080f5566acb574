"""Keys as `auth` uses them, over the real store: two processes, one table."""

from __future__ import annotations

import pytest

from proxy.auth.api_keys import (
    FIRST_ID,
    KeyStore,
    create_first_key,
    create_key,
    hash_of,
    revoke_key,
    rotate_key,
)
from proxy.auth.key_fields import KeyFields
from proxy.auth.key_table import KeyTable
from proxy.core.types import Budget, Limits
from proxy.storage.database import Database
from proxy.storage.errors import DataRefused
from proxy.storage.keys import Keys

NOW = 1_700_000_000.0


async def test_what_one_process_changes_the_other_hears_of(database: Database) -> None:
    here: KeyStore = Keys(database)
    there, table = Keys(database), KeyTable()
    wanted = KeyFields(
        name="a", requests_rate="5/minute", daily_usd=1.5, metadata={"n": [1]}
    )
    issued = await create_key(here, wanted, now=NOW)
    assert await table.refresh(there)
    known = table.find(hash_of(issued.secret), NOW)
    assert known is not None
    assert known.principal.limits == Limits(requests="5/minute")
    assert known.principal.budget == Budget(daily_usd=1.5)
    assert not await table.refresh(there)
    rotated = await rotate_key(here, issued.row.id, now=NOW, grace_s=60)
    assert await table.refresh(there)
    for secret in (issued.secret, rotated.secret):
        assert table.find(hash_of(secret), NOW + 59)
    await revoke_key(here, issued.row.id, now=NOW)
    assert await table.refresh(there)
    for secret in (issued.secret, rotated.secret):
        assert table.find(hash_of(secret), NOW) is None


async def test_uses_are_written_without_a_change(database: Database) -> None:
    keys, table = Keys(database), KeyTable()
    issued = await create_key(keys, KeyFields(name="a"), now=NOW)
    await table.refresh(keys)
    table.note_used(issued.row.id, NOW + 5)
    await keys.touch(table.take_used())
    assert not await table.refresh(keys)
    row = await keys.get(issued.row.id)
    assert row is not None
    assert row.last_used_at == NOW + 5


async def test_of_two_first_keys_the_second_is_refused(database: Database) -> None:
    keys = Keys(database)
    issued = await create_first_key(keys, now=NOW)
    assert issued is not None
    assert issued.row.id == FIRST_ID
    assert await create_first_key(keys, now=NOW) is None
    with pytest.raises(DataRefused):
        await keys.add(issued.row)
