"""Migrations by hand or at need: the only module that imports Alembic.

Each runs in the transaction of the connection it is given, so that it happens as a
whole or not at all, on both engines. `python -m proxy migrate` is `run`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from proxy.storage import schema
from proxy.storage.database import Database

Verb = Literal["up", "down", "status"]

# Beside the package in a checkout and where it is installed.
FOLDER: Final = Path(__file__).resolve().parents[2] / "migrations"


async def run(database: Database, verb: Verb) -> str:
    """Do it and say in one line how it stands then. `down` takes one version back.

    Raises NewerSchema and DatabaseAway.
    """
    async with database.migrating() as connection:
        before = await schema.current(connection)
        schema.refuse_newer(before)
        if verb == "up" and before != schema.EXPECTED:
            await connection.run(upgrade)
        if verb == "down" and before is not None:
            await connection.run(downgrade)
        after = await schema.current(connection)
    return describe(before, after)


def describe(before: str | None, after: str | None) -> str:
    """Tell what changed, and whether that is what this program expects."""
    pending = schema.REVISIONS[
        0 if after is None else schema.REVISIONS.index(after) + 1 :
    ]
    moved = "" if before == after else f" (was {before or 'empty'})"
    rest = f"pending: {', '.join(pending)}" if pending else "up to date"
    return f"version {after or 'none'}{moved}, {rest}"


def upgrade(connection: Connection) -> None:
    """Bring the tables to the version that the code expects."""
    _with(connection, lambda config: command.upgrade(config, schema.EXPECTED))


def downgrade(connection: Connection) -> None:
    """Take the tables back by one version."""
    _with(connection, lambda config: command.downgrade(config, "-1"))


def _with(connection: Connection, do: Callable[[Config], None]) -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    do(config)
