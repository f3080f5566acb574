"""One call's coroutine, run without a task for as long as nothing needs one.

A task per request costs three turns of the event loop: to begin, to go on, to be
told of its end (bench: CPU per request). A `Run` begins at once, goes on in the
moment its `Signal` is given, and tells its end directly. What must wait for
anything else (a connection, a body, a slot) asks for a real task first: `in_task`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, Final

from proxy.core.tasks import create

Work = Coroutine[Any, Any, None]


class Signal:
    """Something that happens once, awaited by one. Either runner may await it.

    `then` is called in the moment it happens. A task takes it for a future (asyncio
    knows those by the attribute below).
    """

    __slots__ = ("_asyncio_future_blocking", "_error", "_happened", "then")

    def __init__(self) -> None:
        self._asyncio_future_blocking = False
        self._happened = False
        self._error: BaseException | None = None
        self.then: Callable[[], object] | None = None

    def done(self) -> bool:
        return self._happened

    @property
    def is_well(self) -> bool:
        """Tell whether it has happened, and was no error."""
        return self._happened and self._error is None

    def give(self, error: BaseException | None = None) -> None:
        """Let who awaits it go on, or raise `error` there. Only the first time counts."""
        if self._happened:
            return
        self._happened = True
        self._error = error
        then = self.then
        if then is not None:
            self.then = None
            then()

    def __await__(self) -> Generator[Any, None, None]:
        if not self._happened:
            self._asyncio_future_blocking = True
            yield self
        if self._error is not None:
            raise self._error

    # -- what a task asks of a future -----------------------------------------------

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def add_done_callback(self, callback: Callable[..., Any], *, context: Any) -> None:
        loop = asyncio.get_running_loop()
        self.then = lambda: loop.call_soon(callback, self, context=context)

    def remove_done_callback(self, callback: Callable[..., Any]) -> int:
        self.then = None
        return 1

    def cancel(self, msg: object = None) -> bool:
        if self._happened:
            return False
        self.give(asyncio.CancelledError())
        return True

    def result(self) -> None:
        """Answer at once: what it has to say is raised by the await itself."""


class _TaskWanted:
    """What `in_task` yields to a Run."""

    def __await__(self) -> Generator[Any, None, None]:
        yield self


_TASK_WANTED: Final = _TaskWanted()


async def in_task() -> None:
    """Go on in a real task: before anything but a Signal is awaited."""
    if asyncio.current_task() is None:
        await _TASK_WANTED


class Run:
    """Runs `work` and calls `done` when it has ended, however it did.

    `fault` is what it raised, if anything; CancelledError when it was cancelled.
    """

    __slots__ = ("_done", "_later", "_signal", "_task", "_work", "fault")

    def __init__(self, done: Callable[[Run], None]) -> None:
        self._work: Work | None = None
        self._later: Callable[[], Work | None] | None = None
        self._done = done
        self._signal: Signal | None = None
        self._task: asyncio.Task[None] | None = None
        self.fault: BaseException | None = None

    def begin(self, work: Work) -> None:
        """Run until the first wait. `done` may be called before this returns."""
        self._work = work
        self._advance()

    def begin_after(self, signal: Signal, work: Callable[[], Work | None]) -> None:
        """Begin once `signal` is given, or to be cancelled: then `work` is asked what is
        left to do. It answers None where that is nothing; before the signal it is given,
        what it answers waits for it.
        """
        self._later = work
        self._signal = signal
        signal.then = self._begin_later

    def cancel(self) -> None:
        """Raise CancelledError where it waits, in the next turn of the loop."""
        if self._task is not None:
            self._task.cancel()
        elif self._signal is not None:
            asyncio.get_running_loop().call_soon(self._cancel_wait, self._signal)

    def _cancel_wait(self, signal: Signal) -> None:
        if self._later is not None:
            signal.then = None
            self._begin_later()
        if self._signal is signal:
            signal.then = None
            self._advance(asyncio.CancelledError())
        elif self._work is not None:  # it went on meanwhile
            self.cancel()

    def _begin_later(self) -> None:
        later, self._later, self._signal = self._later, None, None
        assert later is not None
        try:
            work = later()
        except Exception as fault:
            self._end(fault)
            return
        if work is None:
            self._end(None)
        else:
            self.begin(work)

    def _advance(self, error: BaseException | None = None) -> None:
        work, self._signal = self._work, None
        assert work is not None
        try:
            waits_for = work.send(None) if error is None else work.throw(error)
        except BaseException as fault:
            self._end(None if isinstance(fault, StopIteration) else fault)
            if isinstance(fault, (KeyboardInterrupt, SystemExit)):
                raise
            return
        if type(waits_for) is Signal:
            self._signal = waits_for
            waits_for.then = self._advance
            return
        first = None if waits_for is _TASK_WANTED else waits_for
        self._task = create(_carry_on(work, first))
        self._task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._end(asyncio.CancelledError() if task.cancelled() else task.exception())

    def _end(self, fault: BaseException | None) -> None:
        self._work = self._task = None
        self.fault = fault
        self._done(self)


@coroutine
def _carry_on(work: Work, waits_for: Any) -> Generator[Any, None, None]:
    """Run the rest of a coroutine that has begun and waits for something.

    None: it waits to be run in a task, and for nothing else.
    """
    try:
        if waits_for is None:
            waits_for = work.send(None)
        while True:
            try:
                yield waits_for
            except BaseException as error:
                waits_for = work.throw(error)
            else:
                waits_for = work.send(None)
    except StopIteration:
        return
