"""What does not fit together in `state` and `server.workers`: who shares what, where."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from proxy.config.problems import Path, Report
from proxy.config.schema import File

WITHIN_ONE_PROCESS: Final = "memory"
_SERVERS: Final = ("valkey", "valkeys", "redis", "rediss")
_URL: Final[Path] = ("state", "url")


def check_state(file: File, report: Report) -> None:
    """Check where the state is, and that several workers have one that they share."""
    parts = urlsplit(file.state.url)
    if parts.scheme == WITHIN_ONE_PROCESS:
        if file.server.workers > 1:
            report.error(
                ("server", "workers"),
                "several workers need a state that they share: set state.url (REDIS_URL) "
                "to valkey://… or redis://…, or leave workers at 1",
            )
        return
    if parts.scheme not in _SERVERS:
        known = ", ".join(f"{scheme}://" for scheme in (WITHIN_ONE_PROCESS, *_SERVERS))
        report.error(_URL, f"should begin with one of {known}")
    elif not parts.hostname or not _is_port(parts.netloc):
        report.error(_URL, "should name a host, such as valkey://127.0.0.1:6379")
    elif parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        report.error(_URL, "should end with the number of a database, or nothing")


def _is_port(netloc: str) -> bool:
    port = netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    return not port or (port.isdecimal() and 0 < int(port) < 1 << 16)
