"""Finds out which walls stand: builds each jail that may work, and tries it.

What the configuration of a container, a kernel or a security module allows cannot
be read anywhere; trying tells.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import tempfile
from collections.abc import Iterable
from typing import Final

import orjson

from proxy.sandbox.jail import Jail
from proxy.sandbox.process import Died, Process

_log: Final = logging.getLogger("local_ai.sandbox")
_TRIAL_S: Final = 10.0
WALLS: Final = frozenset(
    {"files", "read_only", "network", "processes", "user", "system_calls"}
)


async def standing_jail(
    candidates: Iterable[Jail],
) -> tuple[Jail, tuple[str, ...]] | None:
    """Answer the first jail whose walls all stand, and their names."""
    for jail in candidates:
        walls = await _tried(jail)
        if walls >= WALLS:
            return jail, tuple(sorted(walls))
        if walls:
            missing = ", ".join(sorted(WALLS - walls))
            _log.warning("a jail for code has holes and is not used: %s", missing)
    return None


async def _tried(jail: Jail) -> frozenset[str]:
    name = f"local-ai-{secrets.token_hex(8)}"
    with (
        tempfile.NamedTemporaryFile() as file,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        listener.bind(f"\0{name}")
        listener.listen()
        job = orjson.dumps({"input": {"file": file.name, "name": name}})
        try:
            async with asyncio.timeout(_TRIAL_S):
                return await _reported(jail, job)
        except (Died, OSError, TimeoutError) as error:
            _log.info("no jail for code: %s", error)
            return frozenset()


async def _reported(jail: Jail, job: bytes) -> frozenset[str]:
    settings = {"addressSpace": None, "threads": None}
    command = jail.command("trial", forks=False, number=0)
    process = await Process.start(command, settings, 1 << 12)
    try:
        reply = await process.ask(job)
    finally:
        process.kill()
        await process.ended()
    walls = reply.get("walls")
    names = walls if isinstance(walls, list) else []
    return frozenset(name for name in names if isinstance(name, str))
