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
# Network and container mounts tell of nothing, nor does anybody of what was changed
# before watching had begun: so the files are looked at now and then as well.
_LOOK_MS: Final = 2000

_State = tuple[tuple[int, int, int] | None, ...]


class Watch:
    """Knows what the files were when it was made."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = tuple(files)
        self._seen = _state(self._files)

    async def changes(self) -> AsyncIterator[None]:
        """Yield once after each change of a file; none while it is deleted.

        Ends, with a warning, where the system does not tell of changes.
        """
        try:
            async for _ in awatch(
                *_folders(self._files),
                watch_filter=None,
                step=_QUIET_MS,
                debounce=_LONGEST_MS,
                rust_timeout=_LOOK_MS,
                yield_on_timeout=True,
                recursive=False,
            ):
                if self._has_changed():
                    yield
        except (OSError, RuntimeError) as error:
            _log.warning(
                "changes of the configuration file are not noticed (%s): send SIGHUP",
                error,
            )

    def _has_changed(self) -> bool:
        pairs = list(zip(_state(self._files), self._seen, strict=True))
        self._seen = tuple(now or before for now, before in pairs)
        return any(now is not None and now != before for now, before in pairs)


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
