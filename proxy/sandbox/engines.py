"""The two interpreters behind one contract: a run in, the process's reply out.

Monty's processes are kept and serve one run after the other, each in a session of
its own. A process of CPython serves one run and ends with it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import orjson

from proxy.core import clock
from proxy.core.tasks import Tasks
from proxy.sandbox.jail import Bare, Jail
from proxy.sandbox.limits import INTERPRETER_BYTES, MONTY_MAPPED_BYTES, Limits
from proxy.sandbox.pool import Pool
from proxy.sandbox.process import Process
from proxy.sandbox.run import EngineName, Run

_SPARE: Final = 1
_FAREWELL_S: Final = 0.5


class Engine(ABC):
    """Runs code in processes of its own. `isolation` names the walls in force."""

    name: EngineName

    def __init__(
        self,
        place: Jail | Bare,
        isolation: tuple[str, ...],
        limits: Limits,
        keep: int,
        tasks: Tasks,
    ) -> None:
        self.isolation = isolation
        self._place = place
        self._limits = limits
        self._pool = Pool(self._start, keep, tasks)
        self._pool.warm(_SPARE)

    async def run(self, run: Run, *, only_if_able: bool) -> dict[str, Any]:
        """Answer the process's reply, with `stdout`, `stderr` and `duration_ms`.

        `only_if_able` asks not to run code that needs what this engine lacks; the
        reply is then of the kind `lacks`. Raises Died, NotStarted, TimeoutError.
        """
        job = {
            "code": run.code,
            "input": run.input,
            "timeout": run.timeout_s,
            "onlyIfAble": only_if_able,
        }
        process = await self._pool.take()
        try:
            began = clock.monotonic()
            reply = await self._asked(process, orjson.dumps(job), run.timeout_s)
            reply["duration_ms"] = round((clock.monotonic() - began) * 1000, 3)
        except BaseException:
            self._pool.discard(process)
            self._pool.warm(_SPARE)
            raise
        self._done(process)
        return reply

    async def close(self) -> None:
        await self._pool.close()

    @abstractmethod
    async def _start(self, number: int) -> Process: ...

    @abstractmethod
    async def _asked(
        self, process: Process, job: bytes, timeout_s: float
    ) -> dict[str, Any]: ...

    @abstractmethod
    def _done(self, process: Process) -> None: ...

    async def _process(
        self, number: int, *, forks: bool, settings: Mapping[str, Any]
    ) -> Process:
        command = self._place.command(self.name, forks=forks, number=number)
        output = self._limits.output_bytes
        told = {"outputBytes": output, "memoryBytes": self._limits.memory_bytes}
        return await Process.start(command, told | dict(settings), output)


class Monty(Engine):
    name = "monty"

    async def _start(self, number: int) -> Process:
        settings = {
            "binary": self._place.monty,
            "addressSpace": MONTY_MAPPED_BYTES,
            "threads": None,
        }
        return await self._process(number, forks=True, settings=settings)

    async def _asked(
        self, process: Process, job: bytes, timeout_s: float
    ) -> dict[str, Any]:
        async with asyncio.timeout(timeout_s):
            return await process.ask(job)

    def _done(self, process: Process) -> None:
        self._pool.give_back(process)


class CPython(Engine):
    name = "cpython"

    async def _start(self, number: int) -> Process:
        settings = {
            "addressSpace": self._limits.memory_bytes + INTERPRETER_BYTES,
            "threads": self._limits.threads,
        }
        return await self._process(number, forks=False, settings=settings)

    async def _asked(
        self, process: Process, job: bytes, timeout_s: float
    ) -> dict[str, Any]:
        self._pool.warm(_SPARE)  # for the next one, while this one runs
        async with asyncio.timeout(timeout_s):
            reply = await process.ask(job)
        # What it printed may still be on its way. It ends by itself, and who built
        # its jail clears up; were that killed, some init would have to.
        await process.ended(_FAREWELL_S)
        out, err, is_cut = process.output
        reply["truncated"] = bool(reply.get("truncated")) or is_cut
        return reply | {"stdout": out, "stderr": err}

    def _done(self, process: Process) -> None:
        self._pool.discard(process)
