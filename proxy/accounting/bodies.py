"""Bodies on their way to the database: copied as they pass, bounded, written later.

All copies share one room, those that are still growing and those that wait for the
database. Where it is full, what comes next is cut, and then left out: a body is a help in
looking for a fault, and holds up nobody. So they wait in memory alone, and go with the
process.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from proxy.core import clock
from proxy.core.tasks import Tasks
from proxy.storage.bodies import BodyRow
from proxy.storage.errors import DataRefused, StorageError

_log: Final = logging.getLogger("local_ai.bodies")

LONGEST_BYTES: Final = 256 << 10
"""So much of a body is kept."""

_ROOM_BYTES: Final = 64 << 20
_MOST_WAITING: Final = 10_000
_BATCH_BYTES: Final = 2 << 20
_BATCH_ROWS: Final = 200
_PASS_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
_LAST_PASS_S: Final = 3.0


class BodyStore(Protocol):
    """Where they go: `proxy.storage.bodies.Bodies`."""

    async def put_all(self, rows: Sequence[BodyRow]) -> None: ...


class Room:
    """How much may be held in memory, in bytes."""

    def __init__(self, size_bytes: int) -> None:
        self.left_bytes = size_bytes

    def take(self, wanted_bytes: int) -> int:
        """Answer how much of it there is room for."""
        taken = min(wanted_bytes, self.left_bytes)
        self.left_bytes -= taken
        return taken

    def give_back(self, taken_bytes: int) -> None:
        self.left_bytes += taken_bytes


class Copy:
    """The beginning of one body; `size_bytes` counts all that has passed."""

    __slots__ = ("_is_cut", "_kept", "_room", "kept_bytes", "size_bytes")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._kept: list[bytes] = []
        self._is_cut = False
        self.kept_bytes = 0
        self.size_bytes = 0

    def add(self, data: bytes) -> None:
        """Note what passes. What comes after a gap is not kept."""
        size = len(data)
        self.size_bytes += size
        if self._is_cut:
            return
        taken = self._room.take(min(size, LONGEST_BYTES - self.kept_bytes))
        self._is_cut = taken < size
        if taken:
            self._kept.append(data[:taken])
            self.kept_bytes += taken

    def taken(self) -> bytes:
        return b"".join(self._kept)


class BodyLog:
    """Open as `async with`: `begin` with each request, `put` what came of it."""

    def __init__(
        self,
        store: BodyStore,
        tasks: Tasks | None = None,
        *,
        room_bytes: int = _ROOM_BYTES,
        wall: Callable[[], float] = clock.wall,
    ) -> None:
        """Without `tasks` nothing is written but by `flush`."""
        self._store = store
        self._tasks = tasks
        self._room = Room(room_bytes)
        self._wall = wall
        self._waiting: deque[BodyRow] = deque()
        self._come, self._ended = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[Any] | None = None
        self._is_away = False
        self.dropped = 0

    async def __aenter__(self) -> BodyLog:
        if self._tasks is not None:
            self._task = self._tasks.start(self._run(), "bodies")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended.set()
        self._come.set()
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.wait((self._task,), timeout=_LAST_PASS_S)
                self._task.cancel()
                await asyncio.wait((self._task,))

    @property
    def waiting(self) -> int:
        """How many requests' bodies wait for the database."""
        return len(self._waiting)

    def begin(self) -> tuple[Copy, Copy]:
        """Answer what to copy a request's body to, and its reply's."""
        return Copy(self._room), Copy(self._room)

    def put(self, request_id: str, request: Copy, reply: Copy) -> None:
        """Take both over, as they are."""
        kept = request.kept_bytes + reply.kept_bytes
        is_nothing = not kept and (request.size_bytes or reply.size_bytes)
        if is_nothing or len(self._waiting) >= _MOST_WAITING:
            self._room.give_back(kept)
            if not self.dropped:
                _log.warning("There is no room for more bodies: some are not kept.")
            self.dropped += 1
            return
        self._waiting.append(
            BodyRow(
                request_id=request_id,
                kept_at=self._wall(),
                request=request.taken(),
                request_bytes=request.size_bytes,
                reply=reply.taken(),
                reply_bytes=reply.size_bytes,
            )
        )
        self._come.set()

    async def flush(self) -> bool:
        """Write all that waits; False where the database does not take it now."""
        while self._waiting:
            batch = self._batch()
            try:
                await self._store.put_all(batch)
            except DataRefused as error:
                _log.error("Bodies were refused: %s", error)
            except StorageError as error:
                self._tell(error)
                return False
            else:
                self._tell(None)
            for row in batch:
                self._waiting.popleft()
                self._room.give_back(len(row.request) + len(row.reply))
        self._come.clear()
        return True

    def _batch(self) -> list[BodyRow]:
        rows: list[BodyRow] = []
        size = 0
        for row in self._waiting:
            size += len(row.request) + len(row.reply)
            if rows and (size > _BATCH_BYTES or len(rows) >= _BATCH_ROWS):
                break
            rows.append(row)
        return rows

    async def _run(self) -> None:
        pause_s = _PASS_S
        while True:
            await self._come.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._ended.wait()
            done = await self.flush()
            pause_s = _PASS_S if done else min(_LONGEST_PAUSE_S, 2 * pause_s)
            if self._ended.is_set():
                return

    def _tell(self, problem: StorageError | None) -> None:
        if problem is not None and not self._is_away:
            _log.warning("The database takes no bodies (%s): they wait.", problem)
        if problem is None and self._is_away:
            _log.warning("The database takes bodies again.")
        self._is_away = problem is not None
