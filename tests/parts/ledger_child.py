"""A process that appends records to a ledger until it is killed.

    python ledger_child.py DATABASE_URL SPOOL PREFIX [die-after-commit]

Prints the id of each request once its record is in the spool, as a caller would see
its reply end then.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proxy.accounting import ledger as module
from proxy.accounting.ledger import Ledger
from proxy.accounting.ledger_line import HEADER
from proxy.accounting.spool import Spool
from proxy.core.tasks import Tasks
from proxy.core.types import Attempt, Record
from proxy.storage.database import Database
from proxy.storage.requests import Requests


class Deadly(Requests):
    """Dies when the database has a batch and the spool does not know yet."""

    async def insert(self, rows: Sequence[Sequence[Any]]) -> int:
        await super().insert(rows)
        os.kill(os.getpid(), signal.SIGKILL)
        return 0


def record(id_: str) -> Record:
    made = Record(id_, "chat", 1.0)
    made.status, made.model, made.provider = 200, "qwen", "gpu"
    made.prompt_tokens, made.usage_source, made.cost_usd = 10, "upstream", 0.001
    made.attempts = [Attempt("gpu", "Qwen/Qwen", 200, None)]
    return made


async def main(url: str, spool: str, prefix: str, how: str = "") -> None:
    module._PASS_S = 0.001  # type: ignore[misc]
    async with Database(url) as database, Tasks(print) as tasks:
        store = (Deadly if how else Requests)(database)
        async with Ledger(Spool(Path(spool), HEADER), store, tasks) as it:
            for number in range(1_000_000):
                id_ = f"{prefix}{number:07}"
                it.append(record(id_))
                os.write(1, f"{id_}\n".encode())
                if number % 7 == 0:
                    await asyncio.sleep(0)


asyncio.run(main(*sys.argv[1:]))
