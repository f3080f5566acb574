from __future__ import annotations

import pytest
from msgspec.structs import replace

from proxy.auth.api_keys import create_key, hash_of, revoke_key, rotate_key, update_key
from proxy.auth.key_fields import KeyFields
from proxy.auth.key_table import KeyTable
from proxy.core.errors import CallerFault
from proxy.core.types import Budget, Limits, Principal
from tests.fakes.keys import FakeKeys

NOW = 1_700_000_000.0


@pytest.fixture
def store() -> FakeKeys:
    return FakeKeys()


@pytest.fixture
def table() -> KeyTable:
    return KeyTable()


async def test_a_key_is_found_by_its_secret_with_all_that_its_row_says(
    store: FakeKeys, table: KeyTable
) -> None:
    wanted = KeyFields(
        name="agent-1",
        tenant="team-a",
        scopes=("inference", "execute"),
        models=("qwen*",),
        priority=0,
        requests_rate="5/minute",
        concurrent=2,
        monthly_usd=9.5,
    )
    issued = await create_key(store, wanted, now=NOW)
    assert await table.refresh(store)
    known = table.find(hash_of(issued.secret), NOW)
    assert known is not None
    assert known.principal == Principal(
        tenant="team-a",
        key=issued.row.id,
        scopes=frozenset({"inference", "execute"}),
        key_name="agent-1",
        models=("qwen*",),
        priority=0,
        limits=Limits("5/minute", None, 2),
        budget=Budget(None, 9.5),
    )
    assert table.find(hash_of(issued.secret[:-1]), NOW) is None
    assert table.row(issued.row.id) == issued.row
    assert len(table) == 1


async def test_a_key_without_limits_has_none(store: FakeKeys, table: KeyTable) -> None:
    issued = await create_key(store, KeyFields(name="a"), now=NOW)
    table.apply([issued.row])
    known = table.find(hash_of(issued.secret), NOW)
    assert known is not None
    assert (known.principal.limits, known.principal.budget) == (None, None)


async def test_only_changes_are_read_and_each_is_a_new_revision(
    store: FakeKeys, table: KeyTable
) -> None:
    key = (await create_key(store, KeyFields(name="a"), now=NOW)).row
    assert await table.refresh(store)
    before, asked = table.revision, store.asked_for_changes
    assert not await table.refresh(store)
    assert (table.revision, store.asked_for_changes) == (before, asked)
    await revoke_key(store, key.id, now=NOW)
    assert await table.refresh(store)
    assert table.revision > before


async def test_a_revoked_or_disabled_key_is_found_no_more(
    store: FakeKeys, table: KeyTable
) -> None:
    revoked = await create_key(store, KeyFields(name="a"), now=NOW)
    disabled = await create_key(store, KeyFields(name="b"), now=NOW)
    await table.refresh(store)
    await revoke_key(store, revoked.row.id, now=NOW)
    await update_key(
        store, disabled.row.id, lambda f: replace(f, enabled=False), now=NOW
    )
    await table.refresh(store)
    assert table.find(hash_of(revoked.secret), NOW) is None
    assert table.find(hash_of(disabled.secret), NOW) is None
    await update_key(
        store, disabled.row.id, lambda f: replace(f, enabled=True), now=NOW
    )
    await table.refresh(store)
    assert table.find(hash_of(disabled.secret), NOW)


async def test_a_revoked_key_that_was_rotated_is_revoked_with_both_secrets(
    store: FakeKeys, table: KeyTable
) -> None:
    old = await create_key(store, KeyFields(name="a"), now=NOW)
    await table.refresh(store)
    new = await rotate_key(store, old.row.id, now=NOW, grace_s=60)
    await table.refresh(store)
    await revoke_key(store, old.row.id, now=NOW)
    await table.refresh(store)
    assert table.find(hash_of(old.secret), NOW) is None
    assert table.find(hash_of(new.secret), NOW) is None


async def test_a_rotated_key_takes_the_old_secret_for_its_time_of_grace(
    store: FakeKeys, table: KeyTable
) -> None:
    old = await create_key(store, KeyFields(name="a"), now=NOW)
    new = await rotate_key(store, old.row.id, now=NOW, grace_s=60)
    await table.refresh(store)
    assert table.find(hash_of(old.secret), NOW + 59.9)
    with pytest.raises(CallerFault) as refused:
        table.find(hash_of(old.secret), NOW + 60)
    assert refused.value.code == "expired_api_key"
    assert table.find(hash_of(new.secret), NOW + 1e9)
    newest = await rotate_key(store, old.row.id, now=NOW, grace_s=60)
    await table.refresh(store)
    assert table.find(hash_of(old.secret), NOW) is None
    assert table.find(hash_of(new.secret), NOW + 59)
    assert table.find(hash_of(newest.secret), NOW)


async def test_an_expired_key_says_so(store: FakeKeys, table: KeyTable) -> None:
    wanted = KeyFields(name="a", expires_at=NOW + 10)
    issued = await create_key(store, wanted, now=NOW)
    rotated = await rotate_key(store, issued.row.id, now=NOW, grace_s=1000)
    await table.refresh(store)
    for secret in (issued.secret, rotated.secret):
        assert table.find(hash_of(secret), NOW + 9.9)
        with pytest.raises(CallerFault):
            table.find(hash_of(secret), NOW + 10)


async def test_an_older_row_does_not_undo_a_newer_one(
    store: FakeKeys, table: KeyTable
) -> None:
    issued = await create_key(store, KeyFields(name="a"), now=NOW)
    revoked = await revoke_key(store, issued.row.id, now=NOW)
    table.apply([revoked])
    table.apply([issued.row])
    assert table.find(hash_of(issued.secret), NOW) is None


async def test_uses_are_gathered_and_handed_over_once(
    store: FakeKeys, table: KeyTable
) -> None:
    key = (await create_key(store, KeyFields(name="a"), now=NOW)).row
    table.note_used(key.id, NOW + 1)
    table.note_used(key.id, NOW + 2)
    used = table.take_used()
    assert used == {key.id: NOW + 2}
    assert table.take_used() == {}
    await store.touch(used)
    assert store.rows[key.id].last_used_at == NOW + 2
