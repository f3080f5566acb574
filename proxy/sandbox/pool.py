"""Processes that are ready before they are needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from proxy.core.tasks import Tasks
from proxy.sandbox.process import Died, Process

_log: Final = logging.getLogger("local_ai.sandbox")


class NotStarted(Exception):
    """A process could not be started."""


class Pool:
    """Starts processes by `start`, given a number that no other of them has now.

    `keep` are held ready at most. Whoever takes one gives it back or discards it.
    """

    def __init__(
        self, start: Callable[[int], Awaitable[Process]], keep: int, tasks: Tasks
    ) -> None:
        self._start = start
        self._keep = keep
        self._tasks = tasks
        self._ready: list[Process] = []
        self._all: set[Process] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._number = 0
        self._is_closed = False

    async def take(self) -> Process:
        """Answer a ready process, or start one. Raises NotStarted."""
        while self._ready:
            process = self._ready.pop()
            if process.is_alive:
                return process
            self.discard(process)
        return await self._started()

    def give_back(self, process: Process) -> None:
        if len(self._ready) < self._keep and process.is_alive and not self._is_closed:
            self._ready.append(process)
        else:
            self.discard(process)

    def discard(self, process: Process) -> None:
        """Kill it; what it knew goes with it."""
        process.kill()
        self._all.discard(process)

    def warm(self, count: int) -> None:
        """See to it that so many are ready soon."""
        for _ in range(count - len(self._ready) - len(self._starting)):
            task = self._tasks.start(self._one_more(), "start a sandbox process")
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def close(self) -> None:
        """End all, those too that are on their way."""
        self._is_closed = True
        processes = tuple(self._all)
        for process in processes:
            self.discard(process)
        for process in processes:
            await process.ended()
        await asyncio.gather(*self._starting, return_exceptions=True)

    async def _one_more(self) -> None:
        try:
            self.give_back(await self._started())
        except NotStarted as error:
            _log.warning("%s", error)

    async def _started(self) -> Process:
        self._number += 1
        try:
            process = await self._start(self._number)
        except (Died, OSError, TimeoutError) as error:
            raise NotStarted(f"a sandbox process did not start: {error!r}") from error
        if self._is_closed:
            process.kill()
            await process.ended()
            raise NotStarted("the sandbox is closed")
        self._all.add(process)
        return process
