"""The database by URL: SQLite in the data directory, or PostgreSQL.

SQLite has one connection that writes and two that read (write-ahead log: readers and
the writer do not wait for each other); it takes its lock when a transaction begins, as
one that asks for it in the middle may be refused at once. PostgreSQL has a pool, and
each connection is tried before it is used, so that a restart of the server costs
nothing but time. What is read ends within a deadline, at the server or on the driver's
thread. What drivers raise comes out as the errors of `errors`.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy import Engine as Pool
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.util import greenlet_spawn

from proxy.core import clock
from proxy.storage import schema
from proxy.storage.connection import Connection, Engine
from proxy.storage.errors import (
    BadDatabase,
    NoDatabase,
    StorageError,
    TooSlow,
    from_driver,
)

FILE: Final = "local-ai.db"

# A lock that another process holds longer than this is an answer, not a wait.
_LOCK_WAIT_S: Final = 2.0
_LOCK_LOOK_S: Final = 0.02
_CONNECT_S: Final = 5.0
# For what is read; in PostgreSQL, for any statement.
_STATEMENT_S: Final = 15.0
# Steps of SQLite's machine between two looks at the clock: some milliseconds of work.
_LOOK_STEPS: Final = 100_000
# An interrupted thread ends within the wait for a lock, unless the disk holds it.
_STOP_S: Final = 3.0
# Opened when it is needed; enough for the ledger, the keys and a page or two.
_POSTGRES_CONNECTIONS: Final = 4


Answer = TypeVar("Answer")


class Database:
    """Opened as `async with`; connects when it is first used.

    The tables are made or brought up to date before the first transaction, by
    whichever process comes first.
    """

    def __init__(self, url: str | None = None, data_dir: Path = Path("data")) -> None:
        """Raises BadDatabase where the URL cannot be used. None: a file of our own."""
        self._url = _parse(url, data_dir)
        self.engine: Engine = (
            "sqlite" if self._url.get_backend_name() == "sqlite" else "postgresql"
        )
        self._readers: Pool | None = None
        self._writer: Pool | None = None
        self._plain: sqlite3.Connection | None = None
        self._plain_is_free = asyncio.Lock()
        self._preparing = asyncio.Lock()
        self._is_prepared = False

    @property
    def name(self) -> str:
        """What may be told of where it is; no password."""
        return str(self._url.database if self.engine == "sqlite" else self._url)

    @property
    def is_missing(self) -> bool:
        """True where the file of ours is still to be made; a server is not asked."""
        return self.engine == "sqlite" and not Path(str(self._url.database)).exists()

    def require(self) -> None:
        """Raise NoDatabase where nobody has made one: for tools, who may be in the wrong
        place.
        """
        if self.is_missing:
            there = Path(str(self._url.database)).resolve()
            raise NoDatabase(
                f"There is no database at {there}. Name the data directory of the "
                "gateway (PROXY_DATA_DIR=…), or its configuration (--config FILE); "
                "where it has never run, start it first."
            )

    async def __aenter__(self) -> Database:
        """Raises BadDatabase where a driver is missing."""
        if self.engine == "sqlite":
            self._writer = _sqlite(self._url, begin="BEGIN IMMEDIATE", connections=1)
            self._readers = _sqlite(self._url, begin="BEGIN", connections=2)
            _limit(self._readers, _STATEMENT_S)
        else:
            self._writer = self._readers = _postgres(self._url)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Interrupts what `in_thread` does; waits for nothing longer than a while."""
        engines = {self._writer, self._readers} - {None}
        self._writer = self._readers = None
        for engine in engines:
            assert engine is not None
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_S):
                    await greenlet_spawn(engine.dispose)
        self._interrupt()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S), self._plain_is_free:
                plain, self._plain = self._plain, None
                if plain is not None:
                    await asyncio.to_thread(plain.close)

    def _interrupt(self) -> None:
        if self._plain is not None:
            self._plain.interrupt()

    async def prepare(self) -> None:
        """Make the tables, or bring them up to date; the second time it is nothing.

        Raises NewerSchema, or DatabaseAway.
        """
        if self._is_prepared:
            return
        async with self._preparing:
            if not self._is_prepared:
                async with self.migrating() as connection:
                    await schema.bring_up_to_date(connection)
                self._is_prepared = True

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A transaction that changes nothing. Raises TooSlow, as of what is in it."""
        await self.prepare()
        async with self._transaction(self._readers) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        """A transaction, committed at the end unless something is raised."""
        await self.prepare()
        async with self._transaction(self._writer) as connection:
            yield connection

    async def in_thread(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Give the driver's own connection to `work`, on another thread: SQLite only.

        For what is too much for the event loop; transactions are the work's affair.
        Who is cancelled interrupts it, and waits until it has ended: nobody else has
        the connection while the thread has it.
        """
        await self.prepare()
        async with self._plain_is_free:
            try:
                if self._plain is None:
                    path = str(self._url.database)
                    self._plain = await asyncio.to_thread(_plain_sqlite, path)
                return await self._ended(_on_a_thread(work, self._plain))
            except (sqlite3.Error, OverflowError, ValueError) as error:
                raise from_driver(error) from error

    async def _ended(self, thread: asyncio.Future[Answer]) -> Answer:
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            self._interrupt()
            await asyncio.wait((thread,), timeout=_STOP_S)
            raise
        finally:
            if not thread.done():
                # It is left to its thread; whoever comes next opens another.
                self._plain = None

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[Connection]:
        """A transaction that changes the tables, alone among all processes."""
        if self.engine == "sqlite":
            try:
                _make_file(Path(str(self._url.database)))
            except OSError as error:
                raise from_driver(error) from error
        async with self._transaction(self._writer) as connection:
            await schema.lock(connection)
            yield connection

    @asynccontextmanager
    async def _transaction(self, engine: Pool | None) -> AsyncIterator[Connection]:
        if engine is None:
            raise RuntimeError("the database is not open")
        try:
            async with _begun(engine) as connection:
                yield connection
        except StorageError:
            raise
        except (SQLAlchemyError, OSError, TimeoutError, OverflowError) as error:
            raise from_driver(error) from error


@asynccontextmanager
async def _begun(pool: Pool) -> AsyncIterator[Connection]:
    connection = await greenlet_spawn(pool.connect)
    try:
        await greenlet_spawn(connection.begin)
        yield Connection(connection)
        await greenlet_spawn(connection.commit)
    except TimeoutError as error:  # the driver's, which has told the server
        raise TooSlow("it was stopped, as it took too long") from error
    finally:
        # Takes back what was not committed.
        await greenlet_spawn(connection.close)


def _parse(url: str | None, data_dir: Path) -> URL:
    if url is None:
        return URL.create("sqlite+aiosqlite", database=str(data_dir / FILE))
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The message would quote the URL, and with it a password.
        raise BadDatabase("database.url is not a URL") from error
    scheme = parsed.drivername.partition("+")[0]
    if scheme == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise BadDatabase("database.url needs a file: sqlite:///path/to/file.db")
        return parsed.set(drivername="sqlite+aiosqlite")
    if scheme in ("postgresql", "postgres"):
        return _as_asyncpg_spells_it(parsed.set(drivername="postgresql+asyncpg"))
    raise BadDatabase(
        f"database.url begins with {scheme}:; known are postgresql: and sqlite:"
    )


def _as_asyncpg_spells_it(url: URL) -> URL:
    """`sslmode` is libpq's word; asyncpg takes its values as `ssl`."""
    query: Mapping[str, Any] = url.query
    if "sslmode" in query:
        url = url.difference_update_query(["sslmode"])
        url = url.update_query_dict({"ssl": query["sslmode"]})
    return url


def _make_file(path: Path) -> None:
    """Make the file so that only its owner can read it; one that is there is let be.

    To close it would drop the locks that SQLite has on it anywhere in this process
    (POSIX), and whoever leaves it next would take the log away from under us.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        )


def _sqlite(url: URL, *, begin: str, connections: int) -> Pool:
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_STATEMENT_S,
        # The driver begins no transactions of its own.
        connect_args={"isolation_level": None, "timeout": _LOCK_WAIT_S},
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        connection.run_async(_turn_write_ahead_log_on)
        cursor = connection.cursor()
        # What is committed is on the disk: the ledger forgets what it has handed over.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA cache_size = -4096")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin_it(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _plain_sqlite(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, _LOCK_WAIT_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -4096")
    return connection


def _limit(readers: Pool, limit_s: float) -> None:
    """Let no transaction go on for longer: SQLite itself knows no such limit."""

    @event.listens_for(readers, "connect")
    def set_up(connection: Any, record: Any) -> None:
        ends = record.info["ends"] = _Ends()
        connection.run_async(lambda it: it.set_progress_handler(ends, _LOOK_STEPS))

    @event.listens_for(readers, "begin")
    def begin_it(connection: Any) -> None:
        connection.info["ends"].at = clock.monotonic() + limit_s


class _Ends:
    """When a transaction has to end; asked by SQLite, which stops where it is true."""

    at = float("inf")

    def __call__(self) -> bool:
        return clock.monotonic() > self.at


def _on_a_thread(
    work: Callable[[sqlite3.Connection], Answer], connection: sqlite3.Connection
) -> asyncio.Future[Answer]:
    return asyncio.get_running_loop().run_in_executor(None, work, connection)


async def _turn_write_ahead_log_on(driver: Any) -> None:
    """Wait for others that set up the file: the driver is refused at once here.

    Raises TimeoutError, or sqlite3.OperationalError for what no wait helps.
    """
    async with asyncio.timeout(2 * _LOCK_WAIT_S):
        while True:
            try:
                await (await driver.execute("PRAGMA journal_mode = WAL")).close()
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
            await clock.sleep(_LOCK_LOOK_S)


def _postgres(url: URL) -> Pool:
    try:
        return create_engine(
            url,
            pool_size=_POSTGRES_CONNECTIONS,
            max_overflow=0,
            pool_timeout=_STATEMENT_S,
            pool_pre_ping=True,
            connect_args={
                "timeout": _CONNECT_S,
                "command_timeout": _STATEMENT_S,
                "server_settings": {"application_name": "local-ai"},
            },
        )
    except ModuleNotFoundError as error:
        raise BadDatabase(
            "PostgreSQL needs asyncpg: pip install 'local-ai[postgres]'"
        ) from error
