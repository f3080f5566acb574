"""The door of the sandbox: takes a run, chooses an engine, answers its outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NoReturn

from proxy.config.schema_policy import ExecuteConfig
from proxy.core.errors import CallerFault, GatewayFault
from proxy.core.tasks import Tasks
from proxy.sandbox.engines import CPython, Engine, Monty
from proxy.sandbox.jail import Bare, find_jails, find_monty
from proxy.sandbox.limits import Limits
from proxy.sandbox.pool import NotStarted
from proxy.sandbox.process import Died
from proxy.sandbox.queue import Queue
from proxy.sandbox.run import ENGINES, EngineName, Outcome, Run
from proxy.sandbox.trial import standing_jail
from proxy.sandbox.verdict import died, outcome, timed_out

_log: Final = logging.getLogger("local_ai.sandbox")
_BARE: Final = ("interpreter", "process", "limits")
_NO_JAIL: Final = "no jail can be built here (bubblewrap, or user namespaces, missing)"


class Sandbox:
    """Runs code that nobody trusts. Open as `async with`; closed, it runs none."""

    def __init__(
        self, config: ExecuteConfig, on_fault: Callable[[BaseException], None]
    ) -> None:
        self.config = config
        self.limits = limits_of(config)
        self._tasks = Tasks(on_fault)
        self._engines: dict[EngineName, Engine] = {}
        self._queues: dict[EngineName, Queue] = {}
        self._missing: dict[EngineName, str] = {}

    async def __aenter__(self) -> Sandbox:
        await self._tasks.__aenter__()
        if self.config.enabled:
            await self._build()
        return self

    async def __aexit__(self, *_: object) -> None:
        for engine in self._engines.values():
            await engine.close()
        await self._tasks.__aexit__()

    @property
    def isolation(self) -> Mapping[EngineName, tuple[str, ...]]:
        """The engines there are, and the walls around each."""
        return MappingProxyType(
            {name: engine.isolation for name, engine in self._engines.items()}
        )

    @property
    def missing(self) -> Mapping[EngineName, str]:
        """The engines that were asked for and are not there, and why."""
        return MappingProxyType(self._missing)

    async def run(self, run: Run, size_bytes: int, holder: str = "") -> Outcome:
        """Run it when its turn comes. `size_bytes` is what it takes while it waits,
        `holder` whom turns are taken between.

        Raises CallerFault `execution_error`, `execution_timeout`, `missing_field`,
        `invalid_field`; GatewayFault `queue_full`, `not_configured`.
        """
        name = run.engine or next(iter(self._engines), None)
        if name is None:
            self._refuse(*next(iter(self._missing.items()), ("monty", _disabled())))
        is_free = run.engine is None and name == "monty" and "cpython" in self._engines
        place = (size_bytes, holder)
        found = await self._run_on(name, run, place, only_if_able=is_free)
        if found is None:
            found = await self._run_on("cpython", run, place, only_if_able=False)
        assert found is not None
        return found

    async def _run_on(
        self, name: EngineName, run: Run, place: tuple[int, str], *, only_if_able: bool
    ) -> Outcome | None:
        """Answer None where the code needs what this engine lacks."""
        engine = self._engines.get(name)
        if engine is None:
            self._refuse(name, self._missing.get(name, _disabled()))
        async with self._queues[name].slot(*place):
            try:
                reply = await engine.run(run, only_if_able=only_if_able)
            except Died as error:
                raise died(error) from error
            except NotStarted as error:
                _log.warning("%s", error)
                message = "The sandbox did not start a process."
                raise GatewayFault("internal_error", message) from error
            except TimeoutError as error:
                raise timed_out(
                    f"The code ran for longer than {run.timeout_s:g} s."
                ) from error
        if reply.get("kind") == "lacks" and only_if_able:
            return None
        return outcome(reply, name, engine.isolation)

    async def _build(self) -> None:
        found = await standing_jail(find_jails())
        concurrency = self.config.concurrency
        wanted = [name for name in ENGINES if name in self.config.engines]
        for name in wanted:
            engine = Monty if name == "monty" else CPython
            if name == "monty" and find_monty() is None:
                self._missing[name] = "the package pydantic-monty is not installed"
            elif found is not None:
                jail, walls = found
                own = (*(_BARE if name == "monty" else _BARE[1:]), "jail", *walls)
                self._engines[name] = engine(
                    jail, own, self.limits, concurrency, self._tasks
                )
            elif name == "cpython" or self.config.require_isolation == "jail":
                self._missing[name] = _NO_JAIL
            else:
                self._engines[name] = engine(
                    Bare(), _BARE, self.limits, concurrency, self._tasks
                )
        self._queues = {name: self._queue() for name in self._engines}
        for name, why in self._missing.items():
            _log.warning("execute: the engine %s is not available: %s", name, why)

    def _queue(self) -> Queue:
        queue = self.config.queue
        return Queue(
            self.config.concurrency,
            queue.max_length,
            queue.max_bytes,
            queue.max_wait_seconds,
        )

    def _refuse(self, name: EngineName, why: str) -> NoReturn:
        if not self.config.enabled:
            why = _disabled()
        if name not in self.config.engines and self.config.enabled:
            message = f"The engine {name} is not among execute.engines."
            raise CallerFault("invalid_field", message, param="engine")
        raise GatewayFault("not_configured", f"Code cannot be run by {name}: {why}.")


def limits_of(config: ExecuteConfig) -> Limits:
    return Limits(
        timeout_s=min(config.timeout_seconds, config.max_timeout_seconds),
        most_timeout_s=config.max_timeout_seconds,
        memory_bytes=config.memory_bytes,
        output_bytes=config.output_bytes,
        input_bytes=config.input_bytes,
        threads=config.max_threads,
    )


def _disabled() -> str:
    return "execute.enabled is false"
