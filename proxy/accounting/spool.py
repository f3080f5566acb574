"""The spool: records wait here, on this machine's disk, until the database has them.

Appending is one write to the page cache, so it outlives the process at once and the
machine once the disk has it. Each process has its own files; those of one that has
ended are taken over by whichever comes first. What the disk does not take waits in
memory; only what is beyond both limits is dropped, counted and told.
"""

from __future__ import annotations

import itertools
import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from proxy.accounting import segment
from proxy.accounting.segment import Segment
from proxy.core import clock

_log: Final = logging.getLogger("local_ai.ledger")

# What the event loop reads at once: some 170 rows, half a millisecond or more.
_BATCH: Final = 64 << 10
# A file that was read to its end is begun anew from here on; at most so much is read
# again after a crash.
_WORTH_REMOVING: Final = 256 << 10
_FULL: Final = 8 << 20
_COMPLAIN_S: Final = 60.0
# So long a file that cannot be read is left alone: a disk that fails takes its time.
_LEAVE_S: Final = 60.0
# More than any line has.
_LINE: Final = 16 << 10


class Batch(Struct, frozen=True, eq=False):
    """Lines on their way to the database. `source` None: they were in memory."""

    lines: Sequence[bytes]
    header: bytes
    source: Segment | None
    end: int = 0


class Room(Struct, frozen=True):
    """How much may wait, in bytes."""

    disk: int = 1 << 30
    memory: int = 64 << 20


_ROOM: Final = Room()


class Spool:
    """Call `put` and the rest from one thread; `open` first, `close` last."""

    def __init__(
        self,
        folder: Path,
        header: bytes,
        room: Room = _ROOM,
        wall: Callable[[], float] = clock.wall,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self.waiting_rows = 0
        self.disk_errors = 0
        self.dropped = 0
        self.set_aside = 0
        self._folder = folder
        self._header = header
        self._room = room
        self._most_bytes = room.disk
        self._wall = wall
        self._now = now
        self._complained_at: dict[str, float] = {}
        self._token = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._segments: deque[Segment] = deque()
        self._active: Segment | None = None
        self._disk_bytes = 0
        self._held: deque[tuple[bytes, int]] = deque()
        self._held_bytes = 0
        self._disk_refuses = False

    def open(self) -> None:
        """Take over what was left; a folder that cannot be made is tried again."""
        try:
            self._make_folder()
        except OSError as error:
            self._tell(str(error))
        self.adopt()

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def close(self) -> None:
        """Let go of the files; those that are read go, others find the next process."""
        self.retry()
        if self._held:
            count = sum(count for _, count in self._held)
            self.dropped += count
            _log.critical("%d records are lost: neither the database nor the spool's disk "
                          "takes them, and memory ends here.", count)  # fmt: skip
        self._active = None
        for one in self._segments:
            if one.is_read:
                self._remove(one)
            else:
                one.close()
        self._segments.clear()

    @property
    def waiting_bytes(self) -> int:
        """How much waits, on the disk and in memory."""
        return self._disk_bytes + self._held_bytes

    @property
    def held_bytes(self) -> int:
        """How much of it waits in memory, as the disk does not take it."""
        return self._held_bytes

    def put(self, data: bytes, count: int = 1) -> None:
        """Append so many lines in one write. Never raises: see the module."""
        if self._held or not self._write(data):
            self._hold(data, count)
        else:
            self.waiting_rows += count

    def retry(self) -> None:
        """Write what waits in memory, as far as the disk takes it."""
        if self._held:
            try:
                self._make_folder()
            except OSError as error:
                self._complain("made", self._folder, error)
        while self._held and self._write(self._held[0][0]):
            self._held_bytes -= len(self._held.popleft()[0])
            if not self._held:
                _log.warning("The spool's disk takes records again.")
                self._disk_refuses = False

    def adopt(self) -> int:
        """Take over what processes that have ended left; answers how many lines."""
        ours = {one.path for one in self._segments}
        try:
            paths = segment.abandoned(self._folder)
        except OSError as error:
            self._complain("looked through", self._folder, error)
            return 0
        count = 0
        for path in reversed(paths):  # each goes before all others
            if path not in ours:
                count += self._adopt(path)
        self.waiting_rows += count
        return count

    def _adopt(self, path: Path) -> int:
        """Take over one file; what is wrong with it does not keep the others away."""
        found = None
        try:
            found = segment.adopt(path)
            if found is None:
                return 0
            count = found.count_unread()
        except OSError as error:
            self._complain("taken over", path, error)
            if found is not None:
                found.close()
            return 0
        self._segments.appendleft(found)
        self._disk_bytes += found.unread_bytes
        return count

    def take(self) -> Batch | None:
        """Answer what comes next; `done` or `undo` it before the next one."""
        for one in tuple(self._segments):
            if one.is_read:
                self._retire(one)
            elif data := self._read(one):
                end = one.read_to + len(data)
                return Batch(data.splitlines(), one.header, one, end)
        if self._held:
            data = self._held.popleft()[0]
            self._held_bytes -= len(data)
            return Batch(data.splitlines(), self._header, None)
        return None

    def _read(self, one: Segment) -> bytes:
        """Nothing where it cannot be read: its lines wait, and no others for them."""
        if one.left_until > self._now():
            return b""
        try:
            data = one.read(_BATCH)
        except OSError as error:
            self.disk_errors += 1
            if not one.is_left:
                _log.error("The spool's %s cannot be read (%s): the records in it are "
                           "left there.", one.path, error)  # fmt: skip
            one.left_until = self._now() + _LEAVE_S
            if one is self._active:
                self._active = None
            return b""
        one.left_until = 0.0
        return data

    def oldest(self) -> Iterator[tuple[bytes, bytes]]:
        """The first line that waits in each file and in memory, each with its header.

        Of a file that cannot be read there is none.
        """
        for one in self._segments:
            if one.is_read or one.is_left:
                continue
            try:
                data = one.read(_LINE)
            except OSError:  # `take` says so
                continue
            yield data.partition(b"\n")[0], one.header
        if self._held:
            yield self._held[0][0].partition(b"\n")[0], self._header

    def done(self, batch: Batch) -> None:
        """Forget it: the database has it."""
        self.waiting_rows -= len(batch.lines)
        if batch.source is not None:
            self._disk_bytes -= batch.end - batch.source.read_to
            batch.source.read_to = batch.end
            if batch.source.is_read:
                self._retire(batch.source)

    def undo(self, batch: Batch) -> None:
        """Keep it: the database did not take it."""
        if batch.source is None:
            data = b"".join(line + b"\n" for line in batch.lines)
            self._held.appendleft((data, len(batch.lines)))
            self._held_bytes += len(data)

    def keep_aside(self, lines: Sequence[bytes]) -> None:
        """Keep what no database will take where a person can look at it."""
        path = self._folder / "refused.jsonl"
        try:
            with path.open("ab") as file:
                file.write(b"".join(line + b"\n" for line in lines))
        except OSError as error:
            self.dropped += len(lines)
            self.disk_errors += 1
            _log.critical("%d records that cannot be stored are lost, as %s cannot be "
                          "written: %s", len(lines), path, error)  # fmt: skip
            return
        self.set_aside += len(lines)
        _log.error("%d records cannot be stored; they are in %s", len(lines), path)

    def sync(self) -> None:
        """Wait until what was appended is on the disk. May be called from a thread."""
        for one in tuple(self._segments):
            try:
                one.sync()
            except OSError as error:
                self._complain("brought to the disk", one.path, error)

    def _write(self, data: bytes) -> bool:
        # Little is asked on the way (bench: CPU per request).
        size, active = len(data), self._active
        if self._disk_bytes + size > self._most_bytes:
            self._tell("the spool is full")
            return False
        try:
            if active is None or active.size > _FULL:
                active = self._active = self._new_segment()
            active.append(data)
        except OSError as error:
            self._active = None  # who knows what is at its end
            self.disk_errors += 1
            self._tell(str(error))
            return False
        self._disk_bytes += size
        return True

    def _new_segment(self) -> Segment:
        name = (
            f"{int(self._wall() * 1000):013}-{self._token}-{next(self._numbers):06}"
            f"{segment.SUFFIX}"
        )
        made = segment.create(self._folder / name, self._header)
        self._segments.append(made)
        return made

    def _hold(self, data: bytes, count: int) -> None:
        if self._held_bytes + len(data) > self._room.memory:
            if not self.dropped:
                _log.critical("The spool is full, and so is memory: records are lost.")
            self.dropped += count
            return
        self._held.append((data, count))
        self._held_bytes += len(data)
        self.waiting_rows += count

    def _retire(self, one: Segment) -> None:
        """Remove a file that was read to its end; a short one goes on being used."""
        if one is self._active:
            if one.size < _WORTH_REMOVING:
                return
            self._active = None
        self._segments.remove(one)
        self._remove(one)

    def _remove(self, one: Segment) -> None:
        """One that stays, stays locked: or somebody would take it over and read it."""
        try:
            one.remove()
        except OSError as error:
            self._complain("removed", one.path, error)

    def _complain(self, what: str, path: Path, error: OSError) -> None:
        """Count what the disk did not do, and tell of it once a minute."""
        self.disk_errors += 1
        now = self._now()
        if now - self._complained_at.get(what, float("-inf")) >= _COMPLAIN_S:
            self._complained_at[what] = now
            _log.error("The spool's %s cannot be %s: %s", path, what, error)

    def _tell(self, problem: str) -> None:
        if not self._disk_refuses:
            self._disk_refuses = True
            _log.error(
                "Records cannot be written to %s (%s): they wait in memory.",
                self._folder,
                problem,
            )
