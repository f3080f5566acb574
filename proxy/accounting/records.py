"""All that is kept of finished requests, opened and closed together.

The ledger over its spool, the tables behind it, and the task that removes what is old.
A database that is away at the start is no reason not to serve: rows wait in the spool.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from proxy.accounting.bodies import BodyLog
from proxy.accounting.ledger import Lag, Ledger
from proxy.accounting.ledger_line import HEADER
from proxy.accounting.queries import Queries
from proxy.accounting.retention import Retention
from proxy.accounting.spool import Spool
from proxy.config import Config
from proxy.core.tasks import Tasks
from proxy.storage.bodies import Bodies
from proxy.storage.database import Database
from proxy.storage.errors import BadDatabase, DatabaseAway, NewerSchema, StorageError
from proxy.storage.requests import Requests
from proxy.storage.responses import Responses
from proxy.storage.usage import Usage

_log: Final = logging.getLogger("local_ai.ledger")

SPOOL: Final = "spool"
# The tables are usually there, or made in a moment; nobody waits longer to be served.
_PATIENCE_S: Final = 1.0


class NoRecords(Exception):
    """The database cannot be used by this version, or by this installation."""


class Records:
    """Open as `async with`: append to `ledger`, put into `bodies`, ask `queries`."""

    def __init__(
        self, config: Config, tasks: Tasks, current: Callable[[], Config]
    ) -> None:
        """`config` names the database, `current` answers the configuration in force.

        Raises NoRecords where the database's address cannot be used.
        """
        try:
            self._database = Database(config.database.url, config.data_dir)
        except BadDatabase as error:
            raise NoRecords(str(error)) from error
        self._tasks = tasks
        self._stack = AsyncExitStack()
        self._current = current
        requests = Requests(self._database)
        self.responses = Responses(self._database)
        spool = Spool(config.data_dir / SPOOL, HEADER)
        self.ledger = Ledger(spool, requests, tasks, currency=self._currency)
        self.usage = Usage(self._database)
        bodies = Bodies(self._database)
        self.bodies = BodyLog(bodies, tasks)
        self.queries = Queries(requests, self.usage, bodies)
        self._retention = Retention(
            requests,
            self.responses,
            bodies,
            days=self._days,
            responses_days=self._days,
        )

    async def __aenter__(self) -> Records:
        """Raises NoRecords where a later version has been at the tables."""
        try:
            await self._stack.enter_async_context(self._database)
        except BadDatabase as error:
            raise NoRecords(str(error)) from error
        try:
            await self._prepare()
            await self._stack.enter_async_context(self.bodies)
            await self._stack.enter_async_context(self.ledger)
        except BaseException:
            await self._stack.aclose()
            raise
        self._retaining = self._tasks.start(self._retention.run(), "retention")
        self._stack.callback(self._retaining.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def lag(self) -> Lag:
        """Tell how far the database is behind."""
        return self.ledger.lag

    async def _prepare(self) -> None:
        made = self._tasks.start(self._try_to_prepare(), "prepare the database")
        await asyncio.wait({made}, timeout=_PATIENCE_S)
        if made.done() and (newer := made.result()) is not None:
            raise NoRecords(str(newer)) from newer

    async def _try_to_prepare(self) -> NewerSchema | None:
        """Answer what forbids the start; later on the ledger meets it, and tells."""
        try:
            await self._database.prepare()
        except NewerSchema as error:
            return error
        except DatabaseAway as error:
            _log.warning("The database is away (%s): records wait for it.", error)
        except StorageError as error:
            _log.error("The database cannot be used (%s): records wait.", error)
        return None

    def _days(self) -> float:
        return self._current().logging.request_log.retain_days

    def _currency(self) -> tuple[str, float]:
        currency = self._current().metrics.currency
        return currency.code, currency.per_usd
