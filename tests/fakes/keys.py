"""A store of keys in memory, as the one in the database is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from proxy.core.keys import KeyRow


class FakeKeys:
    """`meddle` is called before each replace: what others do in between."""

    def __init__(self) -> None:
        self.rows: dict[str, KeyRow] = {}
        self.count = 0
        self.asked_for_changes = 0

    async def add(self, row: KeyRow) -> KeyRow:
        if row.id in self.rows:
            raise ValueError(row.id)
        return self._put(row)

    async def replace(self, row: KeyRow) -> KeyRow | None:
        self.meddle()
        if self.rows[row.id].revision != row.revision:
            return None
        return self._put(row)

    def meddle(self) -> None:
        """Nobody does, unless a test says so."""

    async def get(self, key_id: str) -> KeyRow | None:
        return self.rows.get(key_id)

    async def all(self) -> tuple[KeyRow, ...]:
        return await self.changed_since(0)

    async def changed_since(self, revision: int) -> tuple[KeyRow, ...]:
        self.asked_for_changes += 1
        return tuple(row for row in self.rows.values() if row.revision > revision)

    async def revision(self) -> int:
        return self.count

    async def touch(self, used: Mapping[str, float]) -> None:
        for key_id, at in used.items():
            self.rows[key_id] = replace(self.rows[key_id], last_used_at=at)

    def _put(self, row: KeyRow) -> KeyRow:
        self.count += 1
        row = replace(row, revision=self.count)
        self.rows[row.id] = row
        return row
