from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from typing import Any

import pytest
from msgspec.structs import replace

from proxy.auth.api_keys import (
    create_first_key,
    create_key,
    fields_of,
    list_keys,
    revoke_key,
    rotate_key,
    update_key,
)
from proxy.auth.key_fields import KeyFields
from proxy.auth.permission import SCOPES
from proxy.core.errors import CallerFault, GatewayFault
from tests.fakes.keys import FakeKeys

NOW = 1_700_000_000.0


@pytest.fixture
def store() -> FakeKeys:
    return FakeKeys()


async def test_a_new_key_is_random_and_only_its_hash_is_kept(store: FakeKeys) -> None:
    first = await create_key(store, KeyFields(name="a"), now=NOW)
    second = await create_key(store, KeyFields(name="a"), now=NOW)
    assert re.fullmatch(r"lai_[0-9a-f]{32}", first.secret)
    assert first.secret != second.secret
    assert first.row.id != second.row.id
    assert first.row.prefix == first.secret[:8]
    assert first.row.hash == hashlib.sha256(first.secret.encode()).hexdigest()
    assert first.row.created_at == NOW
    assert first.secret not in repr(store.rows) + repr(first)
    assert await list_keys(store) == (first.row, second.row)


async def test_the_prefix_is_the_configurations(store: FakeKeys) -> None:
    issued = await create_key(store, KeyFields(name="a"), now=NOW, prefix="team-")
    assert re.fullmatch(r"team-[0-9a-f]{32}", issued.secret)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": "a\nb"}, {"name": " a"}, {"name": "x" * 129},
        {"tenant": ""}, {"scopes": ("root",)}, {"scopes": ()}, {"models": ("",)},
        {"models": ("m",) * 257}, {"models": ("x" * 257,)}, {"requests_rate": "120"},
        {"requests_rate": "0/minute"}, {"tokens_rate": "1/week"}, {"concurrent": 0},
        {"priority": -1}, {"daily_usd": -0.1}, {"monthly_usd": math.nan},
        {"daily_usd": math.inf}, {"expires_at": NOW}, {"expires_at": math.nan},
        {"metadata": {"a": object()}}, {"metadata": {"a": "x" * 20_000}},
    ],
)  # fmt: skip
async def test_what_cannot_be_meant_is_refused_by_name(
    store: FakeKeys, wrong: dict[str, Any]
) -> None:
    wanted = replace(KeyFields(name="a"), **wrong)
    with pytest.raises(CallerFault) as refused:
        await create_key(store, wanted, now=NOW)
    assert refused.value.code == "invalid_field"
    assert [refused.value.param] == list(wrong)
    assert not store.rows


async def test_a_change_keeps_what_it_does_not_name(store: FakeKeys) -> None:
    wanted = KeyFields(name="a", models=("qwen*",), expires_at=NOW + 10)
    key = (await create_key(store, wanted, now=NOW)).row
    changed = await update_key(
        store, key.id, lambda f: replace(f, enabled=False), now=NOW + 20
    )
    assert fields_of(changed) == replace(wanted, enabled=False)
    assert (changed.hash, changed.created_at) == (key.hash, NOW)
    with pytest.raises(CallerFault, match="expires_at has passed"):
        await update_key(
            store, key.id, lambda f: replace(f, expires_at=NOW + 11), now=NOW + 20
        )


async def test_two_changes_at_once_both_hold(store: FakeKeys) -> None:
    key = (await create_key(store, KeyFields(name="a"), now=NOW)).row
    meddled = []

    def meddle() -> None:
        if not meddled:
            meddled.append(True)
            store._put(dataclasses.replace(store.rows[key.id], priority=7))

    store.meddle = meddle  # type: ignore[method-assign]
    changed = await update_key(
        store, key.id, lambda f: replace(f, concurrent=3), now=NOW
    )
    assert (changed.priority, changed.concurrent) == (7, 3)


async def test_a_key_that_others_never_stop_changing_is_given_up(
    store: FakeKeys,
) -> None:
    key = (await create_key(store, KeyFields(name="a"), now=NOW)).row
    store.meddle = lambda: store._put(store.rows[key.id])  # type: ignore[assignment,method-assign,return-value]
    with pytest.raises(GatewayFault):
        await revoke_key(store, key.id, now=NOW)


async def test_a_rotated_key_is_the_same_key_with_another_secret(
    store: FakeKeys,
) -> None:
    old = await create_key(store, KeyFields(name="a", priority=3), now=NOW)
    new = await rotate_key(store, old.row.id, now=NOW, grace_s=60)
    assert new.secret != old.secret
    assert (new.row.id, fields_of(new.row)) == (old.row.id, fields_of(old.row))
    assert (new.row.former_hash, new.row.former_until) == (old.row.hash, NOW + 60)
    again = await rotate_key(store, old.row.id, now=NOW, grace_s=0)
    assert (again.row.former_hash, again.row.former_until) == (None, None)


async def test_a_revoked_key_stays_listed_and_cannot_come_back(
    store: FakeKeys,
) -> None:
    key = (await create_key(store, KeyFields(name="a"), now=NOW)).row
    revoked = await revoke_key(store, key.id, now=NOW + 5)
    assert (revoked.enabled, revoked.revoked_at) == (False, NOW + 5)
    assert await list_keys(store) == (revoked,)
    for change in (
        revoke_key(store, key.id, now=NOW),
        rotate_key(store, key.id, now=NOW),
        update_key(store, key.id, lambda f: replace(f, enabled=True), now=NOW),
        revoke_key(store, "key_unknown", now=NOW),
    ):
        with pytest.raises(CallerFault) as refused:
            await change
        assert refused.value.code == "not_found"


async def test_the_first_key_may_do_everything_and_is_made_once(
    store: FakeKeys,
) -> None:
    issued = await create_first_key(store, now=NOW)
    assert issued is not None
    assert set(issued.row.scopes) == SCOPES
    assert await create_first_key(store, now=NOW) is None
    await revoke_key(store, issued.row.id, now=NOW)
    assert await create_first_key(store, now=NOW) is None


async def test_of_two_that_make_the_first_key_the_store_refuses_one(
    store: FakeKeys,
) -> None:
    other = FakeKeys()
    issued = await create_first_key(other, now=NOW)
    assert issued is not None
    await create_first_key(store, now=NOW)
    with pytest.raises(ValueError):
        await store.add(issued.row)
