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

_log: Final = logging.getLogger("local_ai.server")

SMALL: Final = 4096
"""Larger chunks are written at once: what waits is bounded by the reads of one turn."""


FEW: Final = 3
PATIENCE: Final = 256


class Outbox:
    """Shared by all replies of a door. `waiting` is added to by whoever has called `open`
    when it was empty.

    Where a turn brings `FEW` at most there is nothing to save: then `alone` chunks are
    written at once, each of which counts it down, before the next turn is looked at.
    """

    __slots__ = ("_soon", "alone", "waiting")

    def __init__(self) -> None:
        self.alone = 0
        self.waiting: list[tuple[Callable[[bytes], None], bytes]] = []
        self._soon: Callable[[Callable[[], None]], object] | None = None

    def open(self) -> None:
        """Write at the end of this turn what comes to wait."""
        soon = self._soon
        if soon is None:
            soon = self._soon = asyncio.get_running_loop().call_soon
        soon(self.flush)

    def flush(self) -> None:
        """Write all that waits, in its order."""
        waiting = self.waiting[:]
        self.waiting.clear()
        if len(waiting) <= FEW:
            self.alone = PATIENCE
        for send, data in waiting:
            try:
                send(data)
            except RuntimeError:  # its connection has closed in this very turn
                continue
            except Exception:  # of one caller only
                _log.exception("a chunk could not be written")
