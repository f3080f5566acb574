"""A worker's place: its number, and the folder that it shares with the others.

The folder is the parent's, and nobody else's. There each worker has the socket at which
others ask it, and a file that says that it serves.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

_FIRST: Final = 1


class Seat(Struct, frozen=True):
    folder: Path
    number: int

    @property
    def socket(self) -> Path:
        return self.folder / f"worker-{self.number}.sock"

    @property
    def ready(self) -> Path:
        return self.folder / f"worker-{self.number}.ready"

    def others(self) -> list[Seat]:
        """Answer all that are, or were, there: whoever does not answer has gone."""
        found = (
            int(path.stem.partition("-")[2]) for path in self.folder.glob("*.sock")
        )
        return [Seat(self.folder, n) for n in sorted(found) if n != self.number]

    def greets(self) -> bool:
        """True for one of all workers, once: people need not be greeted by each."""
        if self.number != _FIRST:
            return False
        try:
            (self.folder / "greeted").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def on_orphaned(self, callback: Callable[[], object]) -> None:
        """Call `callback` once the parent has gone: it holds the other end of stdin."""
        loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()

        def look() -> None:
            if not os.read(stdin, 1):
                loop.remove_reader(stdin)
                callback()

        loop.add_reader(stdin, look)
