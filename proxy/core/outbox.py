"""Chunks on their way to callers, written when all that has come was read.

To read and write by turns costs more than to read all that is there and then write all
of it (bench: CPU per chunk): each time the kernel works, the processor forgets some of
what the interpreter needs. They leave at the end of the same turn of the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

_log: Final = logging.getLogger("local_ai.core")

SMALL: Final = 4096
"""Larger chunks are written at once: what waits is bounded by the reads of one turn."""

FEW: Final = 3
PATIENCE: Final = 256
"""After a turn of few chunks, so many are written without waiting for others."""


class Outbox:
    """Shared by all replies of a door. `waiting` is added to by whoever has called `open`
    when it was empty.

    Where a turn brings `FEW` at most there is nothing to save: then `alone` chunks are
    written at once, each of which counts it down, before the next turn is looked at.
    """

    __slots__ = ("_is_open", "_soon", "_written", "alone", "waiting")

    def __init__(self) -> None:
        self.alone = 0
        self._is_open = False
        self._written = 0  # in this turn
        self.waiting: list[tuple[Callable[[bytes], None], bytes]] = []
        self._soon: Callable[[Callable[[], None]], object] | None = None

    def open(self) -> None:
        """Write at the end of this turn what comes to wait."""
        if self._is_open:
            return
        self._is_open = True
        soon = self._soon
        if soon is None:
            soon = self._soon = asyncio.get_running_loop().call_soon
        soon(self._end_turn)

    def _end_turn(self) -> None:
        self.flush()
        if self._written <= FEW:
            self.alone = PATIENCE
        self._written, self._is_open = 0, False

    def flush(self) -> None:
        """Write all that waits, in its order."""
        waiting = self.waiting[:]
        self.waiting.clear()
        self._written += len(waiting)
        for send, data in waiting:
            try:
                send(data)
            except RuntimeError:  # its connection has closed in this very turn
                continue
            except Exception:  # of one caller only
                _log.exception("a chunk could not be written")
