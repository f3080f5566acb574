"""Tries the walls from inside: a wall stands if what it should stop fails.

The gateway has prepared what could be reached if one were missing: a file, and a
listener in its own network. The filter of system calls alone would stop a call to an
address, so that only one that it allows tells whether the network is another.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from proxy.sandbox.inside import walls
from proxy.sandbox.inside.channel import Channel

_HIGHEST_PID: Final = 3  # of a jail's own few processes


def main(text: str) -> None:
    settings = json.loads(text)
    channel = Channel(settings["replies"])
    walls.close_others(settings["replies"])
    walls.drop_user(settings["user"])
    walls.limit(settings)
    channel.send({"kind": "ready"})
    job = channel.receive()
    if job is not None:
        channel.send({"kind": "walls", "walls": standing(job["input"])})


def standing(bait: dict[str, Any]) -> list[str]:
    """Name the walls that stood when they were tried."""
    tries: dict[str, Callable[[], object]] = {
        "files": lambda: Path(bait["file"]).stat(),
        "read_only": lambda: os.open("/trial", os.O_CREAT | os.O_WRONLY),
        "network": lambda: _call(bait["name"]),
        "processes": _see_others,
        "user": lambda: os.setuid(0),
        "system_calls": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    }
    return [name for name, attempt in tries.items() if _fails(attempt)]


def _call(name: str) -> None:
    """Reach a listener without a path: names of such are the network's."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(1.0)
        caller.connect(f"\0{name}")


def _see_others() -> None:
    if os.getpid() <= _HIGHEST_PID:
        raise ProcessLookupError


def _fails(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return True
    return False
