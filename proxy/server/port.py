"""Who holds a port, as far as this machine tells, and what to say of it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_LISTENING: Final = "0A"


def cannot_listen(host: str, port: int, error: OSError) -> str:
    """Say why nobody can listen there, and what to do."""
    place = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        who = holder_of(port)
        return (
            f"Cannot listen on {place}: the port is in use"
            f"{f' by {who}' if who else ''}. Stop that, or choose another with --port."
        )
    why = error.strerror or "the certificate or key cannot be used"
    return f"Cannot listen on {place}: {why}."


def holder_of(port: int, proc: Path = _PROC) -> str | None:
    """Answer `name (process id)` of who listens there.

    None where the system does not say: another user's process, or no /proc.
    """
    sockets = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    if not sockets:
        return None
    for descriptor in proc.glob("[0-9]*/fd/*"):
        # Processes come and go while we look, and others' are not ours to read.
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()) in sockets:
                process = descriptor.parent.parent
                name = (process / "comm").read_text().strip()
                return f"{name} (process {process.name})"
    return None


def _inodes(port: int, proc: Path) -> Iterator[str]:
    for table in ("net/tcp", "net/tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / table).read_text().splitlines()[1:]:
                fields = line.split()
                listens = fields[3] == _LISTENING
                if listens and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]
