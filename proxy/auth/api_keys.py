"""API keys: made, listed, changed, rotated and revoked in a store.

A secret exists in the answer that issues it and nowhere else: what is kept is its
SHA-256. It has 128 random bits, so that a plain hash cannot be guessed backwards.
Looking keys up for requests is the affair of proxy.auth.key_table.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from msgspec.structs import asdict

from proxy.auth.key_fields import KeyFields, check_fields
from proxy.auth.permission import SCOPES
from proxy.core.errors import CallerFault, GatewayFault
from proxy.core.keys import KeyRow

SHOWN: Final = 8
"""Characters of a secret that may be shown; the random part begins among them."""

GRACE_S: Final = 86_400.0
FIRST_ID: Final = "key_first"
_TRIES: Final = 8


class KeyStore(Protocol):
    """Keeps keys. `revision` grows with each change, whoever made it."""

    async def add(self, row: KeyRow) -> KeyRow: ...

    async def replace(self, row: KeyRow) -> KeyRow | None:
        """Write a key that was read before; None if it has changed since."""
        ...

    async def get(self, key_id: str) -> KeyRow | None: ...

    async def all(self) -> Sequence[KeyRow]: ...

    async def changed_since(self, revision: int) -> Sequence[KeyRow]: ...

    async def revision(self) -> int: ...

    async def touch(self, used: Mapping[str, float]) -> None: ...


@dataclass(frozen=True, slots=True)
class Issued:
    """A key with its secret, which nobody can read again."""

    row: KeyRow
    secret: str = field(repr=False)


async def create_key(
    store: KeyStore, wanted: KeyFields, *, now: float, prefix: str = "lai_"
) -> Issued:
    """Make a key. Raises CallerFault `invalid_field`."""
    return await _add(store, f"key_{secrets.token_hex(8)}", wanted, now, prefix)


async def create_first_key(
    store: KeyStore, *, now: float, prefix: str = "lai_"
) -> Issued | None:
    """Make a key that may do everything; None where there is or was any key.

    Its id is always the same: of two processes that start at once, the store
    refuses the second.
    """
    if await store.all():
        return None
    wanted = KeyFields(name="admin", scopes=tuple(sorted(SCOPES)))
    return await _add(store, FIRST_ID, wanted, now, prefix)


async def list_keys(store: KeyStore) -> tuple[KeyRow, ...]:
    """Answer all keys, revoked ones too."""
    return tuple(await store.all())


async def update_key(
    store: KeyStore,
    key_id: str,
    change: Callable[[KeyFields], KeyFields],
    *,
    now: float,
) -> KeyRow:
    """Change what its owner decides; `change` may be asked again if others do too.

    Raises CallerFault `not_found`, `invalid_field`.
    """

    def changed(row: KeyRow) -> KeyRow:
        before = fields_of(row)
        wanted = change(before)
        # What has been in force may stay, such as an expiry that has passed.
        check_fields(wanted, now if wanted.expires_at != before.expires_at else None)
        return replace(row, **_values(wanted))

    return await _change(store, key_id, changed)


async def revoke_key(store: KeyStore, key_id: str, *, now: float) -> KeyRow:
    """End a key for good. Raises CallerFault `not_found`."""
    return await _change(
        store, key_id, lambda row: replace(row, enabled=False, revoked_at=now)
    )


async def rotate_key(
    store: KeyStore,
    key_id: str,
    *,
    now: float,
    grace_s: float = GRACE_S,
    prefix: str = "lai_",
) -> Issued:
    """Give a key a new secret; the one before stays good for `grace_s`.

    Only one can be: rotating again ends the oldest at once. Raises CallerFault
    `not_found`.
    """
    secret = _secret(prefix)

    def rotated(row: KeyRow) -> KeyRow:
        former = (row.hash, now + grace_s) if grace_s > 0 else (None, None)
        return replace(
            row,
            hash=hash_of(secret),
            prefix=secret[:SHOWN],
            former_hash=former[0],
            former_until=former[1],
        )

    return Issued(await _change(store, key_id, rotated), secret)


def fields_of(row: KeyRow) -> KeyFields:
    return KeyFields(
        **{name: getattr(row, name) for name in KeyFields.__struct_fields__}
    )


def hash_of(secret: str) -> str:
    """Answer what is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


async def _add(
    store: KeyStore, key_id: str, wanted: KeyFields, now: float, prefix: str
) -> Issued:
    check_fields(wanted, now)
    secret = _secret(prefix)
    row = KeyRow(
        id=key_id,
        hash=hash_of(secret),
        prefix=secret[:SHOWN],
        created_at=now,
        **_values(wanted),
    )
    return Issued(await store.add(row), secret)


async def _change(
    store: KeyStore, key_id: str, change: Callable[[KeyRow], KeyRow]
) -> KeyRow:
    for _ in range(_TRIES):
        row = await store.get(key_id)
        if row is None or row.revoked_at is not None:
            raise CallerFault("not_found", "There is no such key, or it is revoked.")
        changed = await store.replace(change(row))
        if changed is not None:
            return changed
    raise GatewayFault("internal_error", "The key is being changed by others.")


def _secret(prefix: str) -> str:
    return prefix + secrets.token_hex(16)


def _values(wanted: KeyFields) -> dict[str, Any]:
    return asdict(wanted)
