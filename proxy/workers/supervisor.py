"""The parent of all workers: it starts them, watches them, and passes signals on.

It serves nobody and holds nothing that a request needs. It keeps the port, so that a
taken one is told at once, by listening nowhere: each worker listens for itself, and the
system shares callers out between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from dataclasses import replace
from pathlib import Path
from typing import Final

from proxy.config import Config, Options
from proxy.config.options import as_arguments
from proxy.core import clock, tasks
from proxy.observability import logs
from proxy.server.port import cannot_listen
from proxy.workers.seat import Seat

GRACE_S: Final = 10.0
"""Beyond the time to drain, for the last words."""

STEADY_S: Final = 10.0
"""One that lived for so long is started again at once."""

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 15.0
_log: Final = logging.getLogger("local_ai")
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


def supervise(config: Config, options: Options) -> int:
    """Run until told to stop. Answers the exit code."""
    logs.setup(config.logging.level, config.logging.format)
    server = config.server
    try:
        held = hold_port(server.host, server.port)
    except OSError as error:
        print(cannot_listen(server.host, server.port, error), file=sys.stderr)
        return 1
    if not server.port:
        options = replace(options, port=held[0].getsockname()[1])
    folder = Path(tempfile.mkdtemp(prefix="local-ai-"))
    command = [sys.executable, *(["-P"] if sys.flags.safe_path else [])]
    command += ["-m", "proxy", "worker", str(folder)]
    try:
        supervisor = Supervisor(
            folder,
            command,
            as_arguments(options),
            server.workers,
            server.drain_seconds + GRACE_S,
        )
        return asyncio.run(supervisor.run())
    finally:
        for one in held:
            one.close()
        shutil.rmtree(folder, ignore_errors=True)


def hold_port(host: str, port: int) -> list[socket.socket]:
    """Bind without listening, on every address of a host; nobody else may have it.

    Raises OSError. Several processes may listen on one port if all say so: hence a
    first look that does not, or another gateway would share its callers with us.
    """
    held: list[socket.socket] = []
    for shares in (False, True):
        for one in held:
            one.close()
        held.clear()
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            one = socket.socket(family, kind, protocol)
            held.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if shares:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((address[0], port, *address[2:]))
            port = one.getsockname()[1]
    return held


class Supervisor:
    """Keeps so many workers. `command` gets a worker's number and `arguments`."""

    def __init__(
        self,
        folder: Path,
        command: list[str],
        arguments: list[str],
        count: int,
        patience_s: float,
    ) -> None:
        self._folder = folder
        self._command = command
        self._arguments = arguments
        self._count = count
        self._patience_s = patience_s
        self._running: dict[int, Process] = {}
        self._stop = asyncio.Event()
        self._has_served = False
        self._code = 0

    async def run(self) -> int:
        """Keep them until a signal says stop, or none of them could ever serve."""
        loop = asyncio.get_running_loop()
        for name in _STOPPING:
            loop.add_signal_handler(name, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._pass_on_reload)
        keepers = [tasks.create(self._keep(n)) for n in range(1, self._count + 1)]
        await self._stop.wait()
        self._send(signal.SIGTERM)
        _, late = await asyncio.wait(keepers, timeout=self._patience_s)
        if late:
            self._code = 1
            self._send(signal.SIGKILL)
            await asyncio.wait(keepers)
        return self._code

    async def _keep(self, number: int) -> None:
        """Have a worker of this number, and another one whenever it has ended."""
        seat, pause_s = Seat(self._folder, number), 0.0
        while not self._stop.is_set():
            began_at = clock.monotonic()
            code = await self._run(seat)
            if self._stop.is_set():
                return
            if not self._has_served:  # what is wrong is wrong with all
                self._code = code if code > 0 else 1
                self._stop.set()
                return
            lived_s = clock.monotonic() - began_at
            pause_s = 0.0 if lived_s >= STEADY_S else _longer(pause_s)
            _log.warning(
                "worker %d has ended (%s), another begins in %g s",
                number, _said(code), pause_s,
            )  # fmt: skip
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stop.wait()

    async def _run(self, seat: Seat) -> int:
        """Start one worker and wait for its end; answers its exit code."""
        seat.ready.unlink(missing_ok=True)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, str(seat.number), *self._arguments, stdin=PIPE
            )
        except OSError as error:
            _log.error("worker %d cannot be started: %s", seat.number, error)
            return 1
        self._running[seat.number] = process
        if self._stop.is_set():
            process.terminate()
        code = await process.wait()
        del self._running[seat.number]
        self._has_served = self._has_served or seat.ready.exists()
        return code

    def _pass_on_reload(self) -> None:
        """To those who listen to it: it would end one that is still starting, and that
        one reads the file anyway.
        """
        for number, process in self._running.items():
            if Seat(self._folder, number).ready.exists():
                process.send_signal(signal.SIGHUP)

    def _send(self, name: signal.Signals) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(name)


def _longer(pause_s: float) -> float:
    return min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)


def _said(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
