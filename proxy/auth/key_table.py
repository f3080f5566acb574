"""All keys in memory, so that a request asks nobody about its own.

A store is read whole once and then for what has changed (`refresh`, at least every
second); `revision` tells whoever remembers an answer that it may be another now. When
keys were used is gathered here and written in batches.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from proxy.auth.api_keys import KeyStore
from proxy.core.errors import CallerFault
from proxy.core.keys import KeyRow
from proxy.core.types import Budget, Limits, Principal

FOREVER: Final = float("inf")


class Known(Struct, frozen=True):
    """Who a credential stands for, until a moment on the wall clock."""

    principal: Principal
    until: float


class KeyTable:
    """Finds keys by the hash of their secret, hence of the whole credential.

    A hash is looked up, not compared: what timing may tell of it does not lead
    back to a secret of 128 random bits.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._seen = 0
        self._rows: dict[str, KeyRow] = {}
        self._known: dict[str, Known] = {}
        self.used: dict[str, float] = {}
        """As `note_used` says, for whom a call is too much (bench: CPU per request)."""

    def __len__(self) -> int:
        return len(self._rows)

    async def refresh(self, store: KeyStore) -> bool:
        """Take over what has changed in a store; tells whether anything has."""
        if await store.revision() == self._seen:
            return False
        self.apply(await store.changed_since(self._seen))
        return True

    def apply(self, rows: Iterable[KeyRow]) -> None:
        """Take over keys, new or changed: from here on nothing older holds."""
        for row in rows:
            before = self._rows.get(row.id)
            if before is not None:
                if before.revision > row.revision:
                    continue
                for digest in _hashes(before):
                    self._known.pop(digest, None)
            self._rows[row.id] = row
            self._seen = max(self._seen, row.revision)
            self._add(row)
        self.revision += 1

    def find(self, digest: str, now: float) -> Known | None:
        """Answer whose secret has this hash; None if no key's.

        Raises CallerFault `expired_api_key`.
        """
        known = self._known.get(digest)
        if known is None:
            return None
        if now >= known.until:
            raise CallerFault("expired_api_key", "This API key has expired.")
        return known

    def row(self, key_id: str) -> KeyRow | None:
        return self._rows.get(key_id)

    def note_used(self, key_id: str, now: float) -> None:
        self.used[key_id] = now

    def take_used(self) -> dict[str, float]:
        """Answer when keys were last used since this was asked before."""
        used, self.used = self.used, {}
        return used

    def _add(self, row: KeyRow) -> None:
        if not row.enabled or row.revoked_at is not None:
            return
        principal = principal_of(row)
        expires_at = FOREVER if row.expires_at is None else row.expires_at
        if row.former_hash is not None and row.former_until is not None:
            until = min(expires_at, row.former_until)
            self._known[row.former_hash] = Known(principal, until)
        self._known[row.hash] = Known(principal, expires_at)


def principal_of(row: KeyRow) -> Principal:
    limits = Limits(row.requests_rate, row.tokens_rate, row.concurrent)
    budget = Budget(row.daily_usd, row.monthly_usd)
    return Principal(
        tenant=row.tenant,
        key=row.id,
        scopes=frozenset(row.scopes),
        key_name=row.name,
        models=row.models,
        priority=row.priority,
        limits=None if limits == Limits() else limits,
        budget=None if budget == Budget() else budget,
    )


def _hashes(row: KeyRow) -> tuple[str, ...]:
    return (row.hash,) if row.former_hash is None else (row.hash, row.former_hash)
