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
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

from proxy.auth import api_keys
from proxy.auth.key_fields import KeyFields
from proxy.auth.permission import SCOPES
from proxy.config import Config, ConfigError, Options, load
from proxy.core import clock
from proxy.core.errors import GatewayError
from proxy.core.keys import KeyRow
from proxy.observability.text import printable
from proxy.storage.database import Database
from proxy.storage.errors import StorageError
from proxy.storage.keys import Keys

FINE, FAILED, BAD_USAGE = 0, 1, 2
_DAY_S: Final = 86_400.0
# Kept for the gateway, or not in force yet.
_NOT_SHOWN: Final = frozenset({
    "hash", "former_hash", "revision", "requests_rate", "tokens_rate", "concurrent",
    "daily_usd", "monthly_usd",
})  # fmt: skip


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
        return _complain(error.message, FAILED)
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
    create.add_argument("--days", type=float, help="until it expires (never)")
    verbs.add_parser("list", parents=[common], help="list all, revoked ones too")
    revoke = verbs.add_parser("revoke", parents=[common], help="end a key for good")
    revoke.add_argument("id", help="as `list` shows it")
    rotate = verbs.add_parser(
        "rotate", parents=[common], help="give a key a new secret"
    )
    rotate.add_argument("id", help="as `list` shows it")
    rotate.add_argument(
        "--grace-hours", type=float, default=24.0,
        help="how long the one before stays good (24)",
    )  # fmt: skip
    return made


async def _carry_out(given: argparse.Namespace, config: Config) -> Any:
    """Answer the keys that `list` found, or what became of one."""
    async with Database(config.database.url, config.data_dir) as database:
        store, now = Keys(database), clock.wall()
        prefix = config.auth.key_prefix
        match given.verb:
            case "list":
                return [_shape(row) for row in await api_keys.list_keys(store)]
            case "revoke":
                return _shape(await api_keys.revoke_key(store, given.id, now=now))
            case "create":
                issued = await api_keys.create_key(
                    store, _wanted(given, now), now=now, prefix=prefix
                )
            case _:
                grace_s = given.grace_hours * 3600
                issued = await api_keys.rotate_key(
                    store, given.id, now=now, grace_s=grace_s, prefix=prefix
                )
        return {**_shape(issued.row), "secret": issued.secret}


def _wanted(given: argparse.Namespace, now: float) -> KeyFields:
    return KeyFields(
        name=given.name,
        tenant=given.tenant,
        scopes=tuple(given.scopes or ("inference",)),
        models=tuple(given.models),
        priority=given.priority,
        expires_at=None if given.days is None else now + given.days * _DAY_S,
    )


def _shape(row: KeyRow) -> dict[str, Any]:
    shown = [field.name for field in fields(row) if field.name not in _NOT_SHOWN]
    found = {name: getattr(row, name) for name in shown}
    return found | {"metadata": dict(row.metadata)}


def _readable(told: Any) -> str:
    """A line for each key of a list; a line for each fact about one."""
    if isinstance(told, dict):
        facts = [f"{name:14}{_text(name, told[name])}" for name in told]
        return "\n".join(facts)
    columns = ("id", "prefix", "name", "tenant", "scopes", "last_used_at", "state")
    rows = [{**key, "state": _state(key)} for key in told]
    cells = [columns, *(tuple(_text(c, row[c]) for c in columns) for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        .rstrip()
        for row in cells
    )  # fmt: skip


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"] is not None:
        return "revoked"
    expires_at = key["expires_at"]
    if expires_at is not None and expires_at <= clock.wall():
        return "expired"
    return "good" if key["enabled"] else "disabled"


def _text(name: str, value: Any) -> str:
    if value is None or value in ((), [], {}):
        return "-"
    if name.endswith(("_at", "_until")):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M")
    if isinstance(value, tuple | list):
        return printable(",".join(value))
    return printable(str(value))


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
