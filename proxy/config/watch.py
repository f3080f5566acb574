"""Notices that the configuration file has changed, whoever writes it and however.

The files are looked at once a second, not watched: network and container mounts tell of
nothing, and to be told of changes means to be told of those of every file in the folder,
each line of a log that lies there included. What a file is, is told by its stat. Reads
nothing: that is for `load`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from proxy.core import clock

_LOOK_S: Final = 1.0
# An editor writes in several steps: it is over when a look finds nothing new.
_QUIET_S: Final = 0.2
_MOST_LOOKS: Final = 10

_State = tuple[tuple[int, int, int] | None, ...]


class Watch:
    """Knows what the files were when it was made."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = tuple(files)
        self._seen = _state(self._files)

    async def changes(self) -> AsyncIterator[None]:
        """Yield once after each change of a file; none while it is deleted."""
        while True:
            await clock.sleep(_LOOK_S)
            if not await self._has_changed():
                continue
            for _ in range(_MOST_LOOKS):
                await clock.sleep(_QUIET_S)
                if not await self._has_changed():
                    break
            yield

    async def _has_changed(self) -> bool:
        # On a thread: the files may be at a server that hangs.
        found = await asyncio.to_thread(_state, self._files)
        pairs = list(zip(found, self._seen, strict=True))
        self._seen = tuple(now or before for now, before in pairs)
        return any(now is not None and now != before for now, before in pairs)


def _state(files: Sequence[Path]) -> _State:
    return tuple(_stat(file) for file in files)


def _stat(file: Path) -> tuple[int, int, int] | None:
    """What a change of the file changes; None while there is no such file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
