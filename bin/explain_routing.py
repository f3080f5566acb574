"""Print how the running gateway routes a model: explain_routing.py MODEL.

Finds the gateway as it finds itself: by the configuration, the environment and the
local token in its data directory. Exit codes: 0 somebody serves it, 1 nobody does or
the gateway does not answer, 2 it was asked wrongly.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.auth.local_token import NAME
from proxy.config import Config, ConfigError, Options, load
from proxy.observability.text import printable
from proxy.runtime import describe

FINE, FAILED, BAD_USAGE = 0, 1, 2
TIMEOUT_S = 10.0
UNFOLDED = 1000


class CannotAsk(Exception):
    """Says why, and what to do."""


def main(arguments: Sequence[str]) -> int:
    given = parser().parse_args(arguments)
    try:
        config = _config(given.config) if not (given.url and given.token) else Config()
        url = given.url or describe(config)
        file = Path(given.token) if given.token else config.data_dir / NAME
        found = ask(url, _token(file), given.model, given.operation)
    except CannotAsk as error:
        print(error, file=sys.stderr)
        return FAILED
    # Nobody folds lines that another program reads.
    show(found, Console(width=None if sys.stdout.isatty() else UNFOLDED))
    return FAILED if found["error"] else FINE


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="bin/test-routing",
        description="Ask the running gateway who would serve a model, and why.",
    )
    made.add_argument("model", help="as a caller would name it")
    made.add_argument("--operation", default="chat", help="chat, embeddings, …")
    made.add_argument("--config", metavar="FILE", help="the gateway's configuration")
    made.add_argument("--url", help="its address, if the configuration does not tell")
    made.add_argument("--token", metavar="FILE", help="the file of its local token")
    return made


def ask(url: str, token: str, model: str, operation: str) -> Any:
    query = urlencode({"model": model, "operation": operation})
    headers = {"authorization": f"Bearer {token}"}
    request = Request(f"{url}/admin/route?{query}", headers=headers)
    # A proxy of the environment is for others: this goes to our own machine.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)
    except HTTPError as error:
        raise CannotAsk(_refusal(url, error)) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise CannotAsk(
            f"No gateway answers at {url} ({why}). Start it, or name its address: --url"
        ) from error


def show(found: Any, console: Console) -> None:
    table = Table("", "provider", "upstream model", "status", "why", box=None)
    for row in found["candidates"]:
        reason = row["reason"].replace("_", " ")
        why = ": ".join(part for part in (reason, row["detail"]) if part)
        cells = (row["order"] or "", row["provider"], row["upstream_model"])
        # Names are the upstream's: no markup, no escape sequences.
        table.add_row(
            *(Text(printable(str(cell))) for cell in (*cells, row["status"], why)),
            style="" if row["kept"] else "dim",
        )
    for row in found["fallbacks"]:
        place = ("", row["provider"], row["upstream_model"], row["status"], "fallback")
        table.add_row(*(Text(printable(str(cell))) for cell in place))
    if table.rows:
        console.print(table)
    if found["wakes"]:
        console.print(Text(printable(f"{found['wakes']} would be woken.")))
    if found["error"]:
        error = found["error"]
        text = printable(f"{error['code']}: {error['message']}")
        console.print(Text(text), style="bold")


def _config(file: str | None) -> Config:
    try:
        return load(Options(config=file)).config
    except ConfigError as error:
        raise CannotAsk(f"The configuration cannot be read:\n{error}") from error


def _token(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise CannotAsk(
            f"The local token cannot be read: {error}. The start output of the gateway "
            "names its file: --token, or set PROXY_DATA_DIR as for the gateway."
        ) from error


def _refusal(url: str, error: HTTPError) -> str:
    try:
        message = json.load(error)["error"]["message"]
    except (OSError, ValueError, LookupError, TypeError):
        message = error.reason
    return printable(f"{url} answers {error.code}: {message}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
