"""One upstream request for all who ask the same at the same time.

The work flies in a task of its own, so that it does not end with whoever came first:
it goes on while one waiter remains, and is cancelled when the last has gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from proxy.core.errors import GatewayFault
from proxy.core.tasks import Tasks

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]


class Flights(Generic[T]):
    """Joins equal work. `tasks` ends what is under way when the gateway stops."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._under_way: dict[bytes, _Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    async def join(self, key: bytes, work: Work[T]) -> tuple[T, bool]:
        """Answer what the work came to, and whether it was begun for this caller.

        Raises what the work raised, to each who waits; GatewayFault `shutting_down`
        when it was ended from outside.
        """
        flight = self._under_way.get(key)
        is_first = flight is None
        if flight is None:
            flight = self._begin(key, work)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        flight.waiters.add(waiter)
        try:
            await waiter
        finally:
            flight.waiters.discard(waiter)
            if not flight.waiters and not flight.task.done():
                self._forget(key, flight)
                flight.task.cancel()
        return flight.result(), is_first

    def _begin(self, key: bytes, work: Work[T]) -> _Flight[T]:
        flight: _Flight[T] = _Flight()
        flight.task = self._tasks.start(flight.fly(work), "cache flight")

        def over(_: object) -> None:
            self._forget(key, flight)
            flight.tell()

        flight.task.add_done_callback(over)
        self._under_way[key] = flight
        return flight

    def _forget(self, key: bytes, flight: _Flight[T]) -> None:
        """Whoever asks from now on begins anew."""
        if self._under_way.get(key) is flight:
            del self._under_way[key]


class _Flight(Generic[T]):
    task: asyncio.Task[Any]

    def __init__(self) -> None:
        self.waiters: set[asyncio.Future[None]] = set()
        self._value: tuple[T] | None = None
        self._error: Exception | None = None

    async def fly(self, work: Work[T]) -> None:
        try:
            self._value = (await work(),)
        except Exception as error:  # everyone who waits gets it
            self._error = error

    def tell(self) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        if self._value is None:
            raise GatewayFault(
                "shutting_down", "The gateway is stopping.", retry_after_s=5.0
            )
        return self._value[0]
