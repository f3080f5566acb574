"""What a sandbox's process does to itself before it takes a job."""

from __future__ import annotations

import contextlib
import math
import os
import resource
from typing import Any, Final

_NICENESS: Final = 10
_LARGEST_FILE: Final = 16 << 20
_OPEN_FILES: Final = 64
_HIGHEST_DESCRIPTOR: Final = 1 << 20


def close_others(replies: int) -> None:
    """Keep the standard streams and the way back, whatever else was inherited."""
    os.closerange(3, replies)
    os.closerange(replies + 1, _HIGHEST_DESCRIPTOR)


def drop_user(user: int | None) -> None:
    """Become an ordinary user, where the jail was built by root."""
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def limit(settings: dict[str, Any]) -> None:
    """Set the limits that the kernel keeps for one process, never to be raised again."""
    os.nice(_NICENESS)  # the gateway's own requests come first
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_FSIZE, _LARGEST_FILE)
    _set(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if settings["addressSpace"] is not None:
        _set(resource.RLIMIT_AS, settings["addressSpace"])
    if settings["threads"] is not None:  # the kernel counts them as processes
        _set(resource.RLIMIT_NPROC, settings["threads"])


def limit_processor_time(seconds: float) -> None:
    """Let the kernel end this process should the gateway not do so."""
    soft = math.ceil(seconds) + 1
    _set(resource.RLIMIT_CPU, soft, soft + 1)


def _set(which: int, soft: int, hard: int | None = None) -> None:
    # macOS refuses some of them.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(which, (soft, soft if hard is None else hard))
