"""Versions of the tables: up and down on both engines, and two ways that agree."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from proxy.storage import migrate, schema
from proxy.storage.bodies import Bodies
from proxy.storage.database import Database
from proxy.storage.errors import NewerSchema
from proxy.storage.keys import Keys
from proxy.storage.requests import Requests
from proxy.storage.tables import metadata
from tests.architecture.source import ROOT
from tests.parts.ledger_rows import rows

FOREIGN = "CREATE TABLE not_ours (id INTEGER PRIMARY KEY, word TEXT NOT NULL)"


def structure(connection: Connection) -> dict[str, Any]:
    """All that the database says of our tables."""
    seen = inspect(connection)
    return {
        table: {
            "columns": [
                (c["name"], str(c["type"]), c["nullable"], c["default"])
                for c in seen.get_columns(table)
            ],
            "key": seen.get_pk_constraint(table),
            "unique": seen.get_unique_constraints(table),
            "indexes": sorted(map(repr, seen.get_indexes(table))),
        }
        for table in sorted(seen.get_table_names())
        if table != "not_ours"
    }


def checksum(connection: Connection) -> str:
    found = connection.execute(text("SELECT id, word FROM not_ours ORDER BY id"))
    return hashlib.sha256(repr(found.all()).encode()).hexdigest()


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(
        connection, opts={"version_table": schema.VERSION_TABLE}
    )
    return [d for d in compare_metadata(context, metadata) if "not_ours" not in repr(d)]


async def all_down(database: Database) -> None:
    for _ in schema.REVISIONS:
        await migrate.run(database, "down")


async def test_up_makes_the_tables_and_down_takes_only_them(database: Database) -> None:
    async with database.migrating() as connection:
        await connection.execute(text(FOREIGN))
        await connection.execute(
            text("INSERT INTO not_ours VALUES (1, 'kept'), (2, 'as it is')")
        )
        before = await connection.run(checksum)
    pending = "pending: 0001, 0002"
    assert await migrate.run(database, "status") == f"version none, {pending}"
    assert await migrate.run(database, "up") == "version 0002 (was empty), up to date"
    assert await migrate.run(database, "up") == "version 0002, up to date"
    async with database.migrating() as connection:
        assert await connection.run(checksum) == before
        assert set(await connection.run(structure)) == {
            *metadata.tables,
            schema.VERSION_TABLE,
        }
    await Requests(database).insert(rows(3))
    told = [await migrate.run(database, "down") for _ in schema.REVISIONS]
    assert told == [
        "version 0001 (was 0002), pending: 0002",
        f"version none (was 0001), {pending}",
    ]
    async with database.migrating() as connection:
        assert set(await connection.run(structure)) == {schema.VERSION_TABLE}
        assert await connection.run(checksum) == before
    assert await migrate.run(database, "up") == "version 0002 (was empty), up to date"
    assert await Requests(database).count() == 0


async def test_a_database_of_the_version_before_gets_what_it_lacks(url: str) -> None:
    async with Database(url) as database:
        await database.prepare()
        await Requests(database).insert(rows(3))
        assert "was 0002" in await migrate.run(database, "down")
    async with Database(url) as database:  # as after an upgrade of the program
        assert await Requests(database).count() == 3
        assert await Bodies(database).get("req_000001") is None


async def test_the_migrations_make_what_the_tables_say(database: Database) -> None:
    await migrate.run(database, "up")
    async with database.migrating() as connection:
        assert await connection.run(differences) == []


async def test_an_empty_database_gets_what_the_migrations_make(
    database: Database,
) -> None:
    await database.prepare()
    async with database.migrating() as connection:
        made = await connection.run(structure)
        assert await connection.run(differences) == []
    await all_down(database)
    await migrate.run(database, "up")
    async with database.migrating() as connection:
        migrated = await connection.run(structure)
    del made[schema.VERSION_TABLE], migrated[schema.VERSION_TABLE]
    assert made == migrated


async def test_tables_that_were_taken_down_come_back_with_the_first_use(
    url: str,
) -> None:
    async with Database(url) as database:
        await database.prepare()
        await all_down(database)
    async with Database(url) as database:
        assert await Keys(database).all() == ()


async def test_many_that_start_at_once_make_the_tables_once(url: str) -> None:
    databases = [Database(url) for _ in range(4)]

    async def start(database: Database) -> None:
        async with database:
            await database.prepare()
            assert await Requests(database).count() == 0

    await asyncio.gather(*map(start, databases))


async def test_tables_of_a_later_version_are_left_alone(url: str) -> None:
    async with Database(url) as database:
        await database.prepare()
        async with database.migrating() as connection:
            await connection.execute(
                text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
            )
    async with Database(url) as database:
        with pytest.raises(NewerSchema, match="9999"):
            await database.prepare()
        with pytest.raises(NewerSchema):
            await Keys(database).all()
        for verb in ("up", "down"):
            with pytest.raises(NewerSchema):
                await migrate.run(database, verb)  # type: ignore[arg-type]


def test_the_code_expects_the_last_revision_and_knows_all() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.FOLDER))
    scripts = ScriptDirectory.from_config(config)
    chain = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(chain)) == schema.REVISIONS
    assert scripts.get_heads() == [schema.EXPECTED]


def test_a_usual_start_does_not_load_alembic(tmp_path: Any) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from proxy.storage.database import Database
async def main():
    async with Database(None, Path(sys.argv[1])) as database:
        await database.prepare()
asyncio.run(main())
print("alembic" in sys.modules, "asyncpg" in sys.modules)
"""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        assert done.stdout == "False False\n"
