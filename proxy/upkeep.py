"""`python -m proxy migrate` and `prices`: what an operator does beside the gateway.

Neither needs it to run. A database is brought up to date at each start too; by hand it
is done before, or taken back after, an upgrade.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from proxy.accounting.price_map import NoPriceMap, import_prices
from proxy.config import Config, ConfigError, Options, load
from proxy.storage import migrate
from proxy.storage.database import Database
from proxy.storage.errors import StorageError

FINE, FAILED, BAD_USAGE = 0, 1, 2


def run_migrate(arguments: Sequence[str]) -> int:
    """Carry out `migrate up|down|status`; answers the exit code."""
    made = _parser("migrate", "Bring the database's tables up to date, or back.")
    made.add_argument("verb", choices=("up", "down", "status"))
    given = made.parse_args(arguments)

    async def migrated(config: Config) -> str:
        async with Database(config.database.url, config.data_dir) as database:
            return f"{database.name}: {await migrate.run(database, given.verb)}"

    return _told(given.config, lambda config: asyncio.run(migrated(config)))


def run_prices(arguments: Sequence[str]) -> int:
    """Carry out `prices import FILE`; answers the exit code."""
    made = _parser("prices", "Take over prices of clouds' models from a price map.")
    made.add_argument("verb", choices=("import",))
    made.add_argument(
        "file", type=Path, help="a map in the form that LiteLLM publishes"
    )
    given = made.parse_args(arguments)
    return _told(
        given.config,
        lambda config: (
            f"{import_prices(given.file, config.data_dir)}\n"
            "A running gateway takes them over when it reloads."
        ),
    )


def _parser(verb: str, meaning: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog=f"python -m proxy {verb}", description=meaning)
    made.add_argument("--config", metavar="FILE", help="the gateway's configuration")
    return made


def _told(file: str | None, work: Callable[[Config], str]) -> int:
    try:
        told = work(load(Options(config=file)).config)
    except ConfigError as error:
        problems = "\n".join(f"  {problem}" for problem in error.problems)
        return _complain(f"The configuration cannot be used.\n{problems}", BAD_USAGE)
    except NoPriceMap as error:
        return _complain(f"This is no price map: {error}.", FAILED)
    except (StorageError, OSError) as error:
        return _complain(f"It cannot be done: {error}.", FAILED)
    sys.stdout.write(f"{told}\n")
    return FINE


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code
