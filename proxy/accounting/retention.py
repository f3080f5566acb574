"""Retention: what is older than it should be is removed, a slice at a time.

Usage by day is kept. Several processes may do it at once: each removes what it finds.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from proxy.core import clock
from proxy.storage.errors import StorageError

_log: Final = logging.getLogger("local_ai.ledger")

_DAY_S: Final = 86_400
_EVERY_S: Final = 3600.0
# Others want to write too: between two slices there is time for them.
_BETWEEN_S: Final = 0.05
# At the start there is enough to do.
_FIRST_S: Final = 60.0


class OldRequests(Protocol):
    async def delete_before(self, started_us: int) -> int: ...


class OldResponses(Protocol):
    async def delete_before(self, created_at: float) -> int: ...


class OldBodies(Protocol):
    async def delete_before(self, kept_at: float) -> int: ...


class Retention:
    """`run` it as a task, for as long as the gateway runs."""

    def __init__(
        self,
        requests: OldRequests,
        responses: OldResponses,
        bodies: OldBodies,
        *,
        days: Callable[[], float],
        responses_days: Callable[[], float],
        wall: Callable[[], float] = clock.wall,
        sleep: Callable[[float], Awaitable[None]] = clock.sleep,
    ) -> None:
        """Days are asked for each time, as a reload may change them. Bodies go with
        their requests.
        """
        self._requests = requests
        self._responses = responses
        self._bodies = bodies
        self._days = days
        self._responses_days = responses_days
        self._wall = wall
        self._sleep = sleep

    async def run(self) -> None:
        await self._sleep(_FIRST_S)
        while True:
            try:
                removed = await self.remove()
            except StorageError as error:
                _log.warning("Old records are not removed now: %s", error)
            else:
                if removed:
                    _log.info("%d old records were removed.", removed)
            await self._sleep(_EVERY_S)

    async def remove(self) -> int:
        """Remove all that is too old now; answers how many. Raises StorageError."""
        now = self._wall()
        before = now - self._days() * _DAY_S
        requests_before = int(before * 1e6)
        responses_before = now - self._responses_days() * _DAY_S
        removed = await self._all(lambda: self._requests.delete_before(requests_before))
        removed += await self._all(lambda: self._bodies.delete_before(before))
        return removed + await self._all(
            lambda: self._responses.delete_before(responses_before)
        )

    async def _all(self, remove_some: Callable[[], Awaitable[int]]) -> int:
        removed = 0
        while some := await remove_some():
            removed += some
            await self._sleep(_BETWEEN_S)
        return removed
