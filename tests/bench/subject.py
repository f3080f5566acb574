"""A program under test as a process: started, waited for, restarted, ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from tests.bench import measure
from tests.bench.build import BenchError

READY_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 5.0
# Nothing of the user's own setup may reach the gateway that is measured.
PRIVATE: Final = re.compile(
    r"_API_KEY$|_API_TOKEN$|_URL$|_SECRET$|_PROXY$|^OLLAMA_|^PROXY_|^PROVIDER_|^OTEL_"
)


class Subject:
    """A program that serves the bench's requests; `with` starts and stops it.

    `started_in_s` is the time from its start to its first answer.
    """

    def __init__(
        self,
        name: str,
        port: int,
        command: Sequence[str],
        *,
        folder: Path,
        ready_path: str = "/healthz",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self.started_in_s = 0.0
        self._command = tuple(command)
        self._log = folder / f"{name}.log"
        self._folder = folder
        self._ready_path = ready_path
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise BenchError(f"{self.name} is not running")
        return self._process.pid

    def pids(self) -> list[int]:
        """It and its children, who may be the ones that work."""
        return measure.tree(self.pid)

    def start(self) -> None:
        """Start and wait for the first answer; raises BenchError without one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=clean_environment() | self._env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(began + READY_TIMEOUT_S)
        except BenchError:
            self.stop()
            raise
        self.started_in_s = time.perf_counter() - began

    def restart(self) -> None:
        self.stop()
        self.start()

    def stop(self) -> None:
        """End it and what it has started, softly at first."""
        if (process := self._process) is None:
            return
        self._process = None
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
        # It leads a process group of its own, so this reaches nobody else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _wait_until_ready(self, deadline: float) -> None:
        while not self._answers():
            if self._process and self._process.poll() is not None:
                raise BenchError(f"{self.name} ended at start: {self._last_words()}")
            if time.perf_counter() > deadline:
                raise BenchError(
                    f"{self.name} did not answer {self._ready_path} within "
                    f"{READY_TIMEOUT_S:.0f} s: {self._last_words()}"
                )
            time.sleep(0.002)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", self._ready_path)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-1500:].strip() or "(no output)"


def clean_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not PRIVATE.search(k.upper())}
