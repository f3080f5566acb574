"""`python -m proxy keys`: make, list, revoke and rotate keys, in the database itself.

A gateway that runs takes changes over within a second. A secret is printed when it is
made, and cannot be read again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from proxy.auth.key_admin import LONGEST_GRACE_S, KeyAdmin
from proxy.auth.permission import SCOPES
from proxy.config import Config, ConfigError, Options, load
from proxy.core import clock
from proxy.core.errors import GatewayError
from proxy.core.flags import BAD_USAGE, FAILED, by_flag
from proxy.observability.text import printable
from proxy.storage.database import Database
from proxy.storage.errors import NoDatabase, StorageError
from proxy.storage.keys import Keys

FINE = 0
_DAY_S: Final = 86_400.0
_LONGEST_DAYS: Final = 100_000.0
_FLAGS: Final = {
    "name": "NAME", "tenant": "--tenant", "scopes": "--scope", "models": "--model",
    "priority": "--priority", "requests_rate": "--requests", "tokens_rate": "--tokens",
    "concurrent": "--concurrent", "daily_usd": "--daily-usd",
    "monthly_usd": "--monthly-usd", "expires_at": "--days", "metadata": "--metadata",
    "grace_seconds": "--grace-hours",
}  # fmt: skip


def run(arguments: Sequence[str]) -> int:
    """Carry out one command; answers the exit code."""
    given = parser().parse_args(arguments)
    try:
        config = load(Options(config=given.config)).config
        told = asyncio.run(_carry_out(given, config))
    except ConfigError as error:
        problems = "\n".join(f"  {problem}" for problem in error.problems)
        return _complain(f"The configuration cannot be used.\n{problems}", BAD_USAGE)
    except GatewayError as error:
        return _complain(*by_flag(error, _FLAGS))
    except NoDatabase as error:
        return _complain(str(error), BAD_USAGE)
    except (StorageError, OSError) as error:
        return _complain(f"The keys cannot be reached: {error}.", FAILED)
    _say(json.dumps(told, indent=1) if given.json else _readable(told))
    return FINE


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m proxy keys",
        description="Make, list, revoke and rotate the keys that callers need.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", metavar="FILE", help="the gateway's configuration")
    common.add_argument("--json", action="store_true", help="print JSON")
    verbs = made.add_subparsers(dest="verb", required=True, metavar="VERB")
    create = verbs.add_parser("create", parents=[common], help="make a key")
    create.add_argument("name", help="what to call it")
    create.add_argument("--tenant", default="default", help="whose it is")
    create.add_argument(
        "--scope", action="append", choices=sorted(SCOPES), dest="scopes",
        help="what it may do (inference); may be given again",
    )  # fmt: skip
    create.add_argument(
        "--model", action="append", default=[], dest="models", metavar="PATTERN",
        help="a model it may use, * for any text (all); may be given again",
    )  # fmt: skip
    create.add_argument("--priority", type=int, help="in the queue; the lower is first")
    create.add_argument("--days", type=_positive, help="until it expires (never)")
    create.add_argument(
        "--requests", metavar="RATE", help="requests, such as 120/minute"
    )
    create.add_argument(
        "--tokens", metavar="RATE", help="tokens, such as 200000/minute"
    )
    create.add_argument("--concurrent", type=int, help="requests at the same time")
    create.add_argument("--daily-usd", type=float, help="the most that a day may cost")
    create.add_argument("--monthly-usd", type=float, help="and a month")
    create.add_argument(
        "--metadata", type=_json, metavar="JSON", help="an object kept with the key"
    )
    verbs.add_parser("list", parents=[common], help="list all, revoked ones too")
    revoke = verbs.add_parser("revoke", parents=[common], help="end a key for good")
    revoke.add_argument("id", help="as `list` shows it")
    rotate = verbs.add_parser(
        "rotate", parents=[common], help="give a key a new secret"
    )
    rotate.add_argument("id", help="as `list` shows it")
    rotate.add_argument(
        "--grace-hours", type=_hours, default=24.0,
        help="how long the one before stays good (24)",
    )  # fmt: skip
    return made


async def _carry_out(given: argparse.Namespace, config: Config) -> Any:
    """Answer the keys that `list` found, or what became of one."""
    async with Database(config.database.url, config.data_dir) as database:
        if given.verb != "create":
            database.require()
        elif database.is_missing:  # keys may be made before the first start
            _tell_of_new(database)
        admin = KeyAdmin(Keys(database), _nobody, prefix=config.auth.key_prefix)
        match given.verb:
            case "list":
                return await admin.list()
            case "revoke":
                return await admin.revoke(given.id)
            case "create":
                return await admin.create(_wanted(given, clock.wall()))
            case _:
                grace_s = given.grace_hours * 3600
                return await admin.rotate(given.id, {"grace_seconds": grace_s})


def _tell_of_new(database: Database) -> None:
    _note(
        f"A new database is made: {Path(database.name).resolve()}. The gateway finds the "
        "key there if it has the same data directory (PROXY_DATA_DIR) and configuration "
        "(--config)."
    )


async def _nobody() -> None:
    """No gateway runs in this process that would have to take anything over."""


def _wanted(given: argparse.Namespace, now: float) -> dict[str, Any]:
    return {
        "name": given.name,
        "tenant": given.tenant,
        "scopes": given.scopes or ["inference"],
        "models": given.models,
        "priority": given.priority,
        "expires_at": None if given.days is None else now + given.days * _DAY_S,
        "limits": {
            "requests": given.requests,
            "tokens": given.tokens,
            "concurrent": given.concurrent,
        },
        "budget": {"daily_usd": given.daily_usd, "monthly_usd": given.monthly_usd},
        "metadata": given.metadata,
    }


def _positive(text: str) -> float:
    number = _number(text)
    if not 0 < number < _LONGEST_DAYS:
        raise argparse.ArgumentTypeError("it should be a number above 0")
    return number


def _hours(text: str) -> float:
    number = _number(text)
    if not 0 <= number * 3600 <= LONGEST_GRACE_S:
        most = LONGEST_GRACE_S / 3600
        raise argparse.ArgumentTypeError(f"it should be a number from 0 to {most:g}")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("it is no number") from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("it is no JSON") from error


def _readable(told: Any) -> str:
    """A line for each key of a list; a line for each fact about one."""
    if isinstance(told, dict):
        return "\n".join(f"{name:14}{_text(told[name])}" for name in told)
    columns = ("id", "prefix", "name", "tenant", "scopes", "last_used_at", "state")
    cells = [columns, *(tuple(_text(row[c]) for c in columns) for row in told)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        .rstrip()
        for row in cells
    )  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, dict):
        said = (f"{name}={_text(x)}" for name, x in value.items() if x is not None)
        return " ".join(said) or "-"
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return printable(",".join(map(str, value)))
    return printable(str(value))


def _complain(message: str, code: int) -> int:
    _note(message)
    return code


def _note(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
