"""The ledger: a row for each finished request and for each of its attempts.

`append` puts a record into the spool at once; a task takes them from there to the
database, in batches, and while the process is busy it waits with that: a burst is
served first. A database that is slow, locked or away delays no request: rows wait in
the spool, and `lag` tells how many and how long. What is written twice counts once, as
the id is ours (docs/adr/0013).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import orjson
from msgspec import Struct

from proxy.accounting.ledger_line import Row, complete, decode, encode
from proxy.accounting.spool import Batch, Spool
from proxy.core import clock
from proxy.core.tasks import Tasks
from proxy.core.types import Record
from proxy.storage.errors import DataRefused, StorageError
from proxy.storage.requests import COLUMNS

_log: Final = logging.getLogger("local_ai.ledger")

_PASS_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 2.0
_ADOPT_S: Final = 5.0
# Nobody is served before what was left is stored, but for no longer than this.
_FIRST_PASS_S: Final = 3.0
# What is not in the database by then is there after the next start.
_LAST_PASS_S: Final = 3.0
# For a batch that is interrupted to come back; longer than the database waits for it.
_LET_GO_S: Final = 4.0
# Of a core: from here on requests come first, until so much waits, or so long.
_BUSY: Final = 0.6
_PATIENCE_S: Final = 10.0
# For so many times as long as a batch took, the next one waits.
_REST: Final = 2.0
_LONGEST_REST_S: Final = 0.25
_PATIENCE_BYTES: Final = 64 << 20
_STARTED_US: Final = COLUMNS.index("started_us")
_DURATION_US: Final = COLUMNS.index("duration_us")


class RowStore(Protocol):
    """Where rows go: `proxy.storage.requests.Requests`."""

    async def insert(self, rows: Sequence[Sequence[Any]]) -> int: ...


class Lag(Struct, frozen=True):
    """How far the database is behind.

    `rows` and `bytes` wait, `held_bytes` of them in memory as the disk does not take
    them; `seconds` ago the oldest request among them ended. `dropped` found room nowhere, `set_aside` no database
    takes. `problem` is why the last pass failed, `disk_errors` how often the spool's
    disk did not do what it was asked.
    """

    rows: int
    bytes: int
    seconds: float
    held_bytes: int
    dropped: int
    set_aside: int
    problem: str | None
    disk_errors: int = 0


class Ledger:
    """Open as `async with`; `append` each finished record."""

    def __init__(
        self,
        spool: Spool,
        store: RowStore,
        tasks: Tasks | None = None,
        *,
        currency: Callable[[], tuple[str, float]] = lambda: ("USD", 1.0),
        now: Callable[[], float] = clock.monotonic,
        wall: Callable[[], float] = clock.wall,
        cpu: Callable[[], float] = clock.cpu,
    ) -> None:
        """`currency` is the code of that of costs, and what a US dollar is worth in it.

        Without `tasks` nothing is taken to the database but by `drain`.
        """
        self._spool = spool
        self._store = store
        self._tasks = tasks
        self._currency = currency
        self._now = now
        self._wall = wall
        self._cpu = cpu
        self._epoch_s = wall() - now()
        self._looked_at, self._used_s = now(), cpu()
        self._adopted_at = now()
        self._problem: str | None = None
        self._task: asyncio.Task[Any] | None = None
        self._woken = asyncio.Event()
        self._ending = False

    async def __aenter__(self) -> Ledger:
        """Takes what was left to the database first: budgets go by what is there."""
        self._spool.open()
        if self._tasks is not None:
            if self._spool.waiting_rows:
                await self._catch_up()
            self._task = self._tasks.start(self._run(), "ledger")
        return self

    async def _catch_up(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_PASS_S):
                await self._pass()

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        self._woken.set()
        try:
            if self._task is not None:
                await self._end(self._task)
        finally:
            self._spool.close()

    async def _end(self, task: asyncio.Task[Any]) -> None:
        try:
            await asyncio.wait((task,), timeout=_LAST_PASS_S)
        finally:
            task.cancel()
        _, left = await asyncio.wait((task,), timeout=_LET_GO_S)
        if left:
            _log.error("The database holds a batch of records: they are stored later.")

    @property
    def lag(self) -> Lag:
        spool = self._spool
        return Lag(
            rows=spool.waiting_rows,
            bytes=spool.waiting_bytes,
            seconds=self._age_s(),
            held_bytes=spool.held_bytes,
            dropped=spool.dropped,
            set_aside=spool.set_aside,
            problem=self._problem,
            disk_errors=spool.disk_errors,
        )

    def _age_s(self) -> float:
        """Tell how long ago the oldest request ended that waits; nothing has to be noted
        of each for that, as its line says it.
        """
        now = self._wall()
        oldest = (_ended_at(line, header) for line, header in self._spool.oldest())
        return max(
            (now - at for at in oldest if at is not None and at < now), default=0.0
        )

    def append(self, *records: Record) -> None:
        """Note requests in one write, before their replies' last bytes leave. Never
        raises for want of room.
        """
        epoch_s = self._epoch_s
        lines = [encode(record, epoch_s) for record in records]
        self._spool.put(b"".join(lines), len(lines))

    async def drain(self) -> bool:
        """Take what waits to the database; False where it does not take it.

        Not all of it where requests need the processor meanwhile.
        """
        self._epoch_s = self._wall() - self._now()
        self._spool.retry()
        if self._now() - self._adopted_at >= _ADOPT_S:
            self._adopted_at = self._now()
            self._spool.adopt()
        # What has waited for too long goes all at once, however busy we are.
        is_late = self.lag.seconds >= _PATIENCE_S
        while (batch := self._spool.take()) is not None:
            began_at = self._now()
            if not await self._store_batch(batch):
                return False
            if self._is_serving and self._spool.waiting_bytes < _PATIENCE_BYTES:
                # A burst that began meanwhile is not to meet all of the last one.
                took_s = self._now() - began_at
                await self._wait(min(_REST * took_s, _LONGEST_REST_S))
                if not is_late and self._is_busy():
                    return True
        return True

    @property
    def _is_serving(self) -> bool:
        return self._task is not None and not self._ending

    async def _store_batch(self, batch: Batch) -> bool:
        rows, broken = decode(batch.lines, batch.header)
        complete(rows, *self._currency())
        try:
            refused = await self._insert(rows)
        except BaseException as error:
            self._spool.undo(batch)
            if not isinstance(error, StorageError):
                raise
            self._tell(str(error))
            return False
        if broken or refused:
            self._spool.keep_aside([*broken, *(orjson.dumps(row) for row in refused)])
        self._spool.done(batch)
        self._tell(None)
        return True

    async def _insert(self, rows: Sequence[Row]) -> list[Row]:
        """Insert rows; answers those that no database takes, found by halving."""
        try:
            await self._store.insert(rows)
        except DataRefused as error:
            if len(rows) == 1:
                _log.error("A record was refused: %s", error)
                return list(rows)
            half = len(rows) // 2
            return await self._insert(rows[:half]) + await self._insert(rows[half:])
        return []

    async def _run(self) -> None:
        pause_s = _PASS_S
        while True:
            await self._wait(pause_s)
            is_last = self._ending
            if not is_last and self._is_busy():
                await asyncio.to_thread(self._spool.sync)
            elif await self._pass():
                pause_s = _PASS_S
            else:
                # A crash of the machine costs what the last second brought.
                await asyncio.to_thread(self._spool.sync)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 1.5)
            if is_last:
                return

    def _is_busy(self) -> bool:
        """Tell whether requests need the processor now, and rows can wait for it."""
        now, used_s = self._now(), self._cpu()
        share = (used_s - self._used_s) / max(now - self._looked_at, 1e-3)
        self._looked_at, self._used_s = now, used_s
        if share < _BUSY:
            return False
        lag = self.lag
        return lag.seconds < _PATIENCE_S and lag.bytes < _PATIENCE_BYTES

    async def _pass(self) -> bool:
        try:
            return await self.drain()
        except Exception as error:  # the ledger goes on, whatever a row holds
            _log.exception("the ledger stumbled")
            self._problem = f"{type(error).__name__}: {error}"
            return False

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    def _tell(self, problem: str | None) -> None:
        if problem is not None and self._problem is None:
            _log.warning("The database takes no records (%s): they wait.", problem)
        if problem is None and self._problem is not None:
            _log.warning("The database takes records again.")
        self._problem = problem


def _ended_at(line: bytes, header: bytes) -> float | None:
    """Seconds since 1970; None of a line that cannot be read."""
    rows, _ = decode((line,), header)
    if not rows:
        return None
    started_us, duration_us = rows[0][_STARTED_US], rows[0][_DURATION_US]
    if not isinstance(started_us, int) or not isinstance(duration_us, int):
        return None
    return (started_us + duration_us) / 1e6
