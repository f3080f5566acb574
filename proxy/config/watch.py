"""Notices that the configuration file has changed, whoever writes it and however.

Folders are watched, not files: most editors, and every mounted ConfigMap, put a
new file in the place of the old one. What a file is, is told by its stat, so that
other files in its folder are no matter. Reads nothing: that is for `load`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from watchfiles import awatch

_log: Final = logging.getLogger("local_ai.config")

# An editor writes in several steps: it is over when nothing has come for a while.
_QUIET_MS: Final = 200
_LONGEST_MS: Final = 2000

_State = tuple[tuple[int, int, int] | None, ...]


async def changes(files: Sequence[Path]) -> AsyncIterator[None]:
    """Yield once after each change of one of `files`; none while it is deleted.

    Ends, with a warning, where the system does not tell of changes.
    """
    seen = _state(files)
    try:
        async for _ in awatch(
            *_folders(files),
            watch_filter=None,
            step=_QUIET_MS,
            debounce=_LONGEST_MS,
            recursive=False,
        ):
            now = _state(files)
            is_change = any(
                one is not None and one != before
                for one, before in zip(now, seen, strict=True)
            )
            seen = tuple(one or b for one, b in zip(now, seen, strict=True))
            if is_change:
                yield
    except (OSError, RuntimeError) as error:
        _log.warning(
            "changes of the configuration file are not noticed (%s): send SIGHUP", error
        )


def _folders(files: Sequence[Path]) -> set[Path]:
    """Where the files are, and where they lead if they are links."""
    places = {path.parent for file in files for path in (file, file.resolve())}
    return {place for place in places if place.is_dir()}


def _state(files: Sequence[Path]) -> _State:
    return tuple(_stat(file) for file in files)


def _stat(file: Path) -> tuple[int, int, int] | None:
    """What a change of the file changes; None while there is no such file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
