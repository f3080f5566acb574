"""The keys that are in force: kept in the database, all of them in memory.

Requests ask memory alone. What has changed in the database, by whichever process, is
taken over twice a second, and at once after a change made here. While the database is
away those known stay good; when they were used is written in batches.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Final

from proxy.auth.api_keys import Issued, KeyStore, create_first_key
from proxy.auth.authenticate import Authenticator
from proxy.auth.key_admin import KeyAdmin
from proxy.auth.key_table import KeyTable
from proxy.auth.open_keys import NoKeys
from proxy.auth.tokens import open_tokens
from proxy.config import Config
from proxy.core import clock
from proxy.core.call import Fetch
from proxy.storage.database import Database
from proxy.storage.errors import DataRefused, StorageError
from proxy.storage.keys import Keys

LOOK_S: Final = 0.5
"""A key revoked by another process stops within a second: this and the question itself."""

_LOOKS_PER_WRITE: Final = 20
_log: Final = logging.getLogger("local_ai.auth")


class Keyring:
    """Opened as `async with`: then all keys are known.

    `admin` changes them; whoever does so in `store` itself asks for a `refresh`. `first`
    is the key that was made because there was nothing else to come in by: to be shown
    once.
    """

    store: KeyStore
    admin: KeyAdmin

    def __init__(self, config: Config, fetch: Fetch) -> None:
        self.first: Issued | None = None
        self._config = config
        self._table = KeyTable()
        tokens = open_tokens(config.auth.jwt, fetch)
        self._needs_first = config.auth.enabled and tokens is None
        self.authenticator = Authenticator(self._table, tokens)
        self._stack = AsyncExitStack()
        self._is_away = False

    async def __aenter__(self) -> Keyring:
        """Raises NoKeys where the database cannot be opened or read."""
        async with AsyncExitStack() as opening:
            try:
                await self._open(opening)
            except (StorageError, OSError) as error:
                raise NoKeys(str(error)) from error
            self._stack = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._write_used()
        await self._stack.aclose()

    async def follow(self) -> None:
        """Keep up with what others change, until cancelled."""
        looks = 0
        while True:
            await clock.sleep(LOOK_S)
            looks += 1
            try:
                await self.refresh()
            except Exception as error:  # whatever it is: revoked keys must end
                self._note_away(error)
                continue
            self._is_away = False
            if looks % _LOOKS_PER_WRITE == 0:
                await self._write_used()

    async def refresh(self) -> None:
        """Take over what has changed. Raises StorageError."""
        await self._table.refresh(self.store)

    async def _open(self, stack: AsyncExitStack) -> None:
        config = self._config
        database = Database(config.database.url, config.data_dir)
        await stack.enter_async_context(database)
        self.store = Keys(database)
        self.admin = KeyAdmin(self.store, self.refresh, prefix=config.auth.key_prefix)
        if self._needs_first:
            try:
                self.first = await create_first_key(
                    self.store, now=clock.wall(), prefix=config.auth.key_prefix
                )
            except DataRefused:
                _log.info("another process has just made the first key")
        await self.refresh()

    async def _write_used(self) -> None:
        used = self._table.take_used()
        try:
            await self.store.touch(used)
        except StorageError as error:
            self._note_away(error)
            for key_id, at in used.items():
                self._table.note_used(key_id, at)

    def _note_away(self, error: Exception) -> None:
        if not self._is_away:
            self._is_away = True
            said = str(error) or type(error).__name__
            _log.warning("the keys cannot be looked after, those known hold: %s", said)
