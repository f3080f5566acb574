"""One file of a spool: lines are appended at its end, and read from its beginning.

Whoever has the file open holds a lock that the kernel frees with the process, however
it ended; so a file that can be locked is nobody's, and may be taken over. It has its
name only once it is locked, and who locks it looks whether it still has it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

SUFFIX: Final = ".spool"
_UNNAMED: Final = ".new"
_LONGEST_HEADER: Final = 16384
_PIECE: Final = 1 << 20


class Segment:
    """Made by `create` or `adopt`. `size` and `read_to` are offsets of whole lines.

    `left_until` is until when nobody reads it, as it could not be read; 0 otherwise.
    """

    def __init__(self, path: Path, descriptor: int, header: bytes, size: int) -> None:
        self.path = path
        self.header = header
        self.size = size
        self.read_to = len(header)
        self.left_until = 0.0
        self._descriptor = descriptor
        self._synced_to = 0

    @property
    def is_read(self) -> bool:
        return self.read_to >= self.size

    @property
    def is_left(self) -> bool:
        return self.left_until > 0.0

    @property
    def unread_bytes(self) -> int:
        return self.size - self.read_to

    def append(self, data: bytes) -> None:
        """Append whole lines, all or none. Raises OSError."""
        try:
            written = os.write(self._descriptor, data)
        except OSError:
            self._cut_off()
            raise
        if written != len(data):
            self._cut_off()
            raise OSError(errno.ENOSPC, "there is no room for all of it")
        self.size += written

    def _cut_off(self) -> None:
        """Take back what was written of lines that did not fit."""
        os.ftruncate(self._descriptor, self.size)

    def read(self, limit_bytes: int) -> bytes:
        """Answer whole lines that were not read yet; without one end, as it is.

        Raises OSError, also where the file is shorter than it was.
        """
        wanted = min(limit_bytes, self.unread_bytes)
        data = os.pread(self._descriptor, wanted, self.read_to)
        if not data:
            raise OSError(errno.EIO, "it has been cut short")
        return data[: data.rfind(b"\n") + 1] or data

    def count_unread(self) -> int:
        """Count the lines that were not read yet, by reading all of them."""
        count, at = 0, self.read_to
        while at < self.size:
            piece = os.pread(self._descriptor, min(_PIECE, self.size - at), at)
            if not piece:
                break
            count += piece.count(b"\n")
            at += len(piece)
        return count

    def sync(self) -> None:
        """Wait until all that was appended is on the disk."""
        size = self.size
        if self._synced_to < size:
            os.fsync(self._descriptor)
            self._synced_to = size

    def close(self) -> None:
        """Let go of it: another process may take it over."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """Remove the file, while it is still locked."""
        self.path.unlink(missing_ok=True)
        self.close()


def create(path: Path, header: bytes) -> Segment:
    """Make a file that is ours from its first moment on. Raises OSError."""
    unnamed = path.with_suffix(_UNNAMED)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(unnamed, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.write(descriptor, header) != len(header):
            raise OSError(errno.ENOSPC, "there is no room for its header")
        unnamed.rename(path)
    except OSError:
        os.close(descriptor)
        unnamed.unlink(missing_ok=True)
        raise
    return Segment(path, descriptor, header, len(header))


def adopt(path: Path) -> Segment | None:
    """Take over what a process that has ended left; None while one has it.

    Raises OSError.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(descriptor)
        if not os.path.samestat(found, path.stat()):
            raise FileNotFoundError(path)
        first = os.pread(descriptor, _LONGEST_HEADER, 0)
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)  # another process has it, or has just removed it
        return None
    except OSError:
        os.close(descriptor)
        raise
    header = first[: first.find(b"\n") + 1]
    return Segment(path, descriptor, header, _end_of_lines(descriptor, found.st_size))


def _end_of_lines(descriptor: int, size: int) -> int:
    """A process that was killed while it wrote may have left half a line."""
    tail = os.pread(descriptor, _PIECE, max(0, size - _PIECE))
    return size - len(tail) + tail.rfind(b"\n") + 1


def abandoned(folder: Path) -> list[Path]:
    """Name what may be adopted, the oldest first. Raises OSError."""
    return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
