"""Responses kept in the database, behind the store in memory: they outlive the process.

Both those that the gateway made itself, with all that is needed to go on from them, and
who made the others. Nobody waits for what is written; what memory has forgotten is read
when somebody asks for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import orjson

from proxy.core import clock
from proxy.core.errors import GatewayFault
from proxy.core.run import in_task
from proxy.core.tasks import Tasks
from proxy.pipeline.stored import MemoryStore, Stored
from proxy.routing.responses import ResponseOwners
from proxy.storage.errors import StorageError
from proxy.storage.responses import ResponseRow, Responses

_log: Final = logging.getLogger("local_ai.pipeline")

_PASS_S: Final = 0.5
_BATCH: Final = 256
_PATIENCE_S: Final = 3.0
_MOST_BYTES: Final = 64 << 20
_LONGEST_CONVERSATION: Final = 1000

_Key = tuple[str, str]


class DurableStore:
    """Implements Store. Open as `async with`; `note_owner` hears of other responses."""

    def __init__(
        self,
        table: Responses,
        owners: ResponseOwners,
        tasks: Tasks,
        wall: Callable[[], float] = clock.wall,
    ) -> None:
        self._table = table
        self._owners = owners
        self._tasks = tasks
        self._wall = wall
        self._memory = MemoryStore()
        self._waiting: OrderedDict[_Key, ResponseRow] = OrderedDict()
        self._waiting_bytes = 0
        self._task: asyncio.Task[Any] | None = None
        self._is_away = False

    async def __aenter__(self) -> DurableStore:
        self._owners.keep = self.note_owner
        self._task = self._tasks.start(self._run(), "keep responses")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._owners.keep = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self.write()

    # -- Store --------------------------------------------------------------------------

    def put(self, stored: Stored) -> None:
        self._memory.put(stored)
        said = orjson.loads(stored.response)
        self._add(
            ResponseRow(
                id=stored.id,
                tenant=stored.tenant,
                provider=stored.provider,
                created_at=self._wall(),
                model=said.get("model"),
                previous_id=said.get("previous_response_id"),
                input=stored.items,
                output=stored.response,
            )
        )

    async def get(self, response_id: str, tenant: str) -> Stored | None:
        """Raises GatewayFault `database_unavailable` where only that would know."""
        found = await self._memory.get(response_id, tenant)
        if found is not None or self._owners.knows(response_id, tenant):
            return found
        row = await self._read(response_id, tenant)
        if row is None:
            return None
        if row.output is None:
            self._owners.remember(response_id, tenant, row.provider)
            return None
        turns = await self._conversation(row)
        if turns is None:
            return None
        stored = Stored(
            row.id, tenant, row.output, row.input or b"[]", turns, row.provider
        )
        self._memory.put(stored)
        return stored

    async def delete(self, response_id: str, tenant: str) -> bool:
        """As `get`, raises where the database has to know and cannot be asked."""
        was_here = await self._memory.delete(response_id, tenant)
        self._drop((tenant, response_id))
        was_there = await self._asked(self._table.delete(response_id, tenant))
        return was_here or was_there

    def note_owner(self, response_id: str, tenant: str, provider_id: str) -> None:
        """Keep who made a response that its provider keeps."""
        self._add(
            ResponseRow(
                id=response_id,
                tenant=tenant,
                provider=provider_id,
                created_at=self._wall(),
            )
        )

    # -- reading ------------------------------------------------------------------------

    async def _conversation(self, row: ResponseRow) -> tuple[bytes, ...] | None:
        """The turns up to and with a response; None where one of them is gone."""
        turns: list[bytes] = []
        at: ResponseRow | None = row
        for _ in range(_LONGEST_CONVERSATION):
            if at is None or at.output is None:
                return None
            said = orjson.dumps(orjson.loads(at.output)["output"])
            turns[:0] = (at.input or b"[]", said)
            if at.previous_id is None:
                return tuple(turns)
            known = await self._memory.get(at.previous_id, row.tenant)
            if known is not None:
                return (*known.turns, *turns)
            at = await self._read(at.previous_id, row.tenant)
        return None

    async def _read(self, response_id: str, tenant: str) -> ResponseRow | None:
        waiting = self._waiting.get((tenant, response_id))
        return waiting or await self._asked(self._table.get(response_id, tenant))

    async def _asked(self, work: Any) -> Any:
        await in_task()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await work
        except (StorageError, TimeoutError) as error:
            raise GatewayFault(
                "database_unavailable",
                "Whether there is such a response cannot be looked up now.",
            ) from error

    # -- writing ------------------------------------------------------------------------

    async def write(self) -> None:
        """Write what waits; what the database does not take waits on."""
        while self._waiting:
            rows = list(self._waiting.values())[:_BATCH]
            try:
                await self._table.put_all(rows)
            except StorageError as error:
                if not self._is_away:
                    _log.warning("Responses wait for the database: %s", error)
                self._is_away = True
                return
            self._is_away = False
            for row in rows:
                if self._waiting.get((row.tenant, row.id)) is row:
                    self._drop((row.tenant, row.id))

    async def _run(self) -> None:
        while True:
            await clock.sleep(_PASS_S)
            await self.write()

    def _add(self, row: ResponseRow) -> None:
        key = (row.tenant, row.id)
        self._drop(key)
        self._waiting[key] = row
        self._waiting_bytes += _size(row)
        while self._waiting_bytes > _MOST_BYTES:
            _log.error("Too many responses wait for the database: one is not kept.")
            self._drop(next(iter(self._waiting)))

    def _drop(self, key: _Key) -> None:
        row = self._waiting.pop(key, None)
        if row is not None:
            self._waiting_bytes -= _size(row)


def _size(row: ResponseRow) -> int:
    return 200 + len(row.input or b"") + len(row.output or b"")
