"""Background tasks: the only place that creates one.

A group owns its tasks, reports what they raise and ends them on exit, so that
no task is forgotten and no exception is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """A group of tasks with the lifetime of an `async with` block."""

    def __init__(self, on_fault: Callable[[BaseException], None]) -> None:
        self._on_fault = on_fault
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Tasks:
        return self

    async def __aexit__(self, *_: object) -> None:
        pending = tuple(self._tasks)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def __len__(self) -> int:
        return len(self._tasks)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_fault(error)


def launch(
    work: Coroutine[Any, Any, None], done: Callable[[asyncio.Task[None]], None]
) -> asyncio.Task[None]:
    """Start the task of one call; its door owns it and is told when it has ended."""
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(done)
    return task


async def beside(future: asyncio.Future[T], work: Coroutine[Any, Any, None]) -> T:
    """Await `future` while `work` runs; what `work` raises is raised here.

    When the future is done first, `work` is cancelled: its help is over.
    """
    helper = asyncio.get_running_loop().create_task(work)
    both: set[asyncio.Future[Any]] = {future, helper}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            await helper  # raises what went wrong, or was simply ready first
        return await future
    finally:
        helper.cancel()
        await asyncio.gather(helper, return_exceptions=True)
