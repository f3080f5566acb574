"""`python -m proxy tail`: requests of a running gateway, as they finish.

Asks the gateway itself, on this machine with its local token, or with a key that may.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import orjson

from proxy.auth.local_token import NAME
from proxy.config import Config
from proxy.observability.text import printable
from proxy.reports.command import FINE, Failed, answered, common, read_config, say
from proxy.runtime import describe

_PATH: Final = "/admin/requests/stream"
_HINTS: Final[Mapping[int, str]] = {
    401: "\nShow it another: --token FILE (its local token, in its data directory; "
    "PROXY_DATA_DIR names that), or with authentication on --key KEY (one with the "
    "scope admin).",
    403: "\nWith authentication on it asks for a key with the scope admin: --key KEY.",
}
# The gateway says something every 15 seconds.
_SILENCE_S: Final = 60.0


def run(arguments: Sequence[str]) -> int:
    """Carry out the command; answers the exit code."""
    given = parser().parse_args(arguments)

    def work() -> int:
        config = read_config(given.config)
        url = given.url or describe(config)
        secret = given.key or _token(config, given.token)
        with _opened(f"{url}{_PATH}", secret) as stream:
            for row in rows(stream):
                if given.model is None or row.get("model") == given.model:
                    say(orjson.dumps(row).decode() if given.json else line(row))
        return FINE

    return answered(work)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m proxy tail",
        description="Show requests of the running gateway as they finish.",
        parents=[common()],
    )
    made.add_argument("--url", help="its address, if the configuration does not tell")
    made.add_argument("--token", metavar="FILE", help="the file of its local token")
    made.add_argument("--key", help="a key with the scope admin, in place of the token")
    made.add_argument("--model", help="only of this model")
    return made


def rows(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Read events; what was missed comes as a row of its own."""
    for text in stream:
        if text.startswith(b"data: "):
            yield orjson.loads(text[6:])


def line(row: dict[str, Any]) -> str:
    """One request in one line."""
    if "id" not in row:
        return f"… {row['requests']} requests were too many to be shown"
    first = row["first_token_ms"]
    parts = [
        row["time"][:23],
        str(row["status"]),
        f"{row['endpoint']:<12}",
        f"{row['duration_ms']:>9.1f}ms",
        "" if first is None else f"first={first:.1f}ms",
        row["model"] or "-",
        f"at {row['provider']}" if row["provider"] else "",
        f"tokens={row['prompt_tokens']}+{row['completion_tokens']}"
        if row["usage_source"] != "none"
        else "",
        "" if not row["cost"] else f"cost={row['cost']:.6f} {row['currency']}",
        row["code"] or "",
        "" if row["tenant"] == "default" else f"tenant={row['tenant']}",
        row["id"],
    ]
    return " ".join(printable(part, 80) for part in parts if part)


def _opened(url: str, secret: str) -> Any:
    if not url.startswith(("http://", "https://")):
        raise Failed(f"{url} is no address: it begins with http:// or https://")
    headers = {"authorization": f"Bearer {secret}"}
    request = Request(url, headers=headers)  # noqa: S310 -- looked at above
    try:
        # A proxy of the environment is for others: this goes to our own machine.
        return build_opener(ProxyHandler({})).open(request, timeout=_SILENCE_S)
    except HTTPError as error:
        told = printable(error.read(2000).decode(errors="replace"), 500)
        raise Failed(
            f"The gateway refuses: {error.code} {told}{_HINTS.get(error.code, '')}"
        ) from error
    except OSError as error:
        why = getattr(error, "reason", error)
        raise Failed(
            f"No gateway answers at {url} ({why}). Start it, or name its address: --url"
        ) from error


def _token(config: Config, file: str | None) -> str:
    path = Path(file) if file else config.data_dir / NAME
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise Failed(
            f"The local token cannot be read: {error}. The start output of the gateway "
            "names its file: --token FILE, or give a key: --key"
        ) from error
