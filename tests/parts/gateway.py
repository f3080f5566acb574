"""The real gateway as a process, on a free port, with an environment of its own.

`run_gateway` and `serving` serve while a block runs; the fixture `gateway` starts any
number for one test. `run_to_end` is for command lines that should not serve. What waits
for the process is awaited in a thread, as its upstream may run in the test's loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.parts.ports import HOST, free_port, stop_process, wait_until_ready

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 15.0
# An allow-list: no key, proxy or PROXY_* of whoever runs the tests gets in.
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")

Config = Mapping[str, Any] | str | None
"""A configuration file's content, as text or as what to write as JSON (which is
YAML); None for no file at all."""


@dataclass(slots=True)
class Gateway:
    """A running gateway. `folder` holds its config, its data and what it printed."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the process, as `ps` tells it (kilobytes)."""
        command = ["ps", "-o", "rss=", "-p", str(self.process.pid)]
        return int(subprocess.check_output(command)) * 1024

    def gauges(self) -> dict[str, float]:
        """The gateway's own gauges in /metrics, by name with labels."""
        lines = self._metrics()
        types = (line.split() for line in lines if line.startswith("# TYPE local_ai_"))
        gauges = {name for _, _, name, kind in types if kind == "gauge"}
        samples = (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")
        return {
            name: float(value)
            for name, value in samples
            if name.partition("{")[0] in gauges
        }

    def counts(self, name: str) -> dict[str, float]:
        """One metric's samples in /metrics, by name with labels."""
        samples = (line.rsplit(" ", 1) for line in self._metrics())
        return {
            key: float(value)
            for key, value in samples
            if key == name or key.startswith(f"{name}{{")
        }

    def _metrics(self) -> list[str]:
        with urlopen(f"{self.url}/metrics", timeout=5) as answer:
            return answer.read().decode().splitlines()  # type: ignore[no-any-return]

    def terminate(self) -> None:
        """Ask it to stop, without waiting."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop it by SIGTERM; anything but exit code 0 in time is a failure."""
        code = stop_process(self.process, STOP_TIMEOUT_S)
        assert code == 0, f"exit code {code}\n{self.stdout}\n{self.stderr}"

    async def stopped(self) -> None:
        """As `stop`, while the test's own loop goes on."""
        await asyncio.to_thread(self.stop)


@dataclass(frozen=True, slots=True)
class Finished:
    code: int
    stdout: str
    stderr: str


Start = Callable[..., Awaitable[Gateway]]
"""The fixture: `await gateway(config, *flags, variables={...})`."""


@contextmanager
def run_gateway(
    folder: Path,
    config: Config,
    *flags: str,
    variables: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
) -> Iterator[Gateway]:
    """Serve while the block runs, then stop and check that it ended well.

    `before` are words before the command line, of a program that becomes it.
    """
    port = free_port()
    command = [*before, *_command(folder, config), "--port", str(port), *flags]
    stdout, stderr = folder / "stdout", folder / "stderr"
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(folder, variables or {}),
            stdin=subprocess.DEVNULL, stdout=out, stderr=err,
        )  # fmt: skip
    running = Gateway(process, port, folder)
    try:
        wait_until_ready(process, port, "/healthz", stderr, START_TIMEOUT_S)
        yield running
    except BaseException:
        stop_process(process, STOP_TIMEOUT_S)
        raise
    running.stop()


@asynccontextmanager
async def serving(
    folder: Path, config: Config, *flags: str, **options: Any
) -> AsyncIterator[Gateway]:
    """As `run_gateway`, while an upstream of it may run in this loop."""
    with ExitStack() as running:
        opening = run_gateway(folder, config, *flags, **options)
        gateway = await asyncio.to_thread(running.enter_context, opening)
        try:
            yield gateway
        finally:
            await asyncio.to_thread(running.close)


def run_to_end(
    folder: Path,
    config: Config,
    *arguments: str,
    variables: Mapping[str, str] | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> Finished:
    """Run `python -m proxy ARGUMENTS` that should end by itself."""
    done = subprocess.run(
        [*_command(folder, config), *arguments], cwd=folder, text=True,
        env=_environment(folder, variables or {}), stdin=subprocess.DEVNULL,
        capture_output=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Start]:
    """Start gateways that are stopped, and checked, when the test ends."""
    with ExitStack() as running:
        count = 0

        async def start(config: Config, *flags: str, **options: Any) -> Gateway:
            nonlocal count
            count += 1
            folder = tmp_path / f"gateway-{count}"
            folder.mkdir()
            opening = run_gateway(folder, config, *flags, **options)
            return await asyncio.to_thread(running.enter_context, opening)

        yield start


def _command(folder: Path, config: Config) -> list[str]:
    command = [sys.executable, "-m", "proxy"]
    if config is None:
        return command
    file = folder / "config.yaml"
    file.write_text(config if isinstance(config, str) else json.dumps(config, indent=1))
    return [*command, "--config", str(file)]


def _environment(folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    own = {"PYTHONPATH": str(ROOT), "PROXY_DATA_DIR": str(folder / "data")}
    return kept | own | dict(variables)
