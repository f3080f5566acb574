"""What all reports share: finding the records, printing tables, saying what is wrong."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import orjson

from proxy.accounting.queries import Queries
from proxy.config import Config, ConfigError, Options, load
from proxy.core.errors import GatewayError
from proxy.core.flags import BAD_USAGE, FAILED, by_flag
from proxy.observability.text import printable
from proxy.storage.database import Database
from proxy.storage.errors import NoDatabase, StorageError
from proxy.storage.requests import Requests
from proxy.storage.usage import Usage

FINE = 0

_WIDEST: Final = 44
_NOTHING: Final = "-"


class Failed(Exception):
    """It cannot be done; the message says why and what to do."""


def common() -> argparse.ArgumentParser:
    """The flags that every report takes."""
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument("--config", metavar="FILE", help="the gateway's configuration")
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


def add_filters(made: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Let a report be narrowed by these."""
    for name in names:
        made.add_argument(f"--{name}", help=f"only of this {name}")


def filters(given: argparse.Namespace, names: Iterable[str]) -> dict[str, str]:
    """Those of the filters that were given."""
    found = {name: getattr(given, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def answered(
    work: Callable[[], int], flags: Mapping[str, str] = MappingProxyType({})
) -> int:
    """Do it; tell what stands in the way. Answers the exit code.

    `flags` are those by which fields of a question are given.
    """
    try:
        return work()
    except ConfigError as error:
        problems = "\n".join(f"  {problem}" for problem in error.problems)
        return complain(f"The configuration cannot be used.\n{problems}", BAD_USAGE)
    except GatewayError as error:
        return complain(*by_flag(error, flags))
    except NoDatabase as error:
        return complain(str(error), BAD_USAGE)
    except Failed as error:
        return complain(str(error), FAILED)
    except (StorageError, OSError) as error:
        return complain(f"The records cannot be reached: {error}.", FAILED)


def ask(config: Config, question: Callable[[Queries], Awaitable[Any]]) -> Any:
    """Ask the records of a gateway, in the database itself; it need not be running.

    Raises NoDatabase where there is none.
    """

    async def asked() -> Any:
        async with Database(config.database.url, config.data_dir) as database:
            database.require()
            return await question(Queries(Requests(database), Usage(database)))

    return asyncio.run(asked())


def read_config(file: str | None) -> Config:
    return load(Options(config=file)).config


def table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns for people; numbers stand at the right."""
    cells = [list(names), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(names))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if _is_number(cell) else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    )


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def say_json(document: Any) -> None:
    say(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def complain(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code


def _cell(value: Any) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, float):
        return f"{value:,.6f}" if value and abs(value) < 1 else f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return printable(str(value), _WIDEST)


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() and cell.replace(",", "").replace(".", "").isdigit()
