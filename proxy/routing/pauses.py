"""Who waits outside the queue: until a pause or a load is over, or a machine is up.

No more may at once than may in the queue: each holds its request in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from proxy.core.errors import GatewayError


class Pauses:
    """Counts places; `limit` may be changed at any time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0

    def __len__(self) -> int:
        return self._taken

    @contextmanager
    def place(self, otherwise: GatewayError) -> Iterator[None]:
        """Hold a place for a wait; raises `otherwise` where none is left."""
        if self._taken >= self.limit:
            raise otherwise
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
