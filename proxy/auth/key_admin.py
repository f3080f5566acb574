"""What owners do with keys, for /admin/keys and the command line: asked and answered
in the shape of proxy.auth.key_shape.

What is changed is taken over at once where a gateway runs here; other processes follow
within a second.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from proxy.auth import api_keys
from proxy.auth.api_keys import GRACE_S, Issued, KeyStore
from proxy.auth.key_shape import read_change, read_new, shown_key
from proxy.core import clock
from proxy.core.errors import CallerFault, GatewayFault
from proxy.core.keys import KeyRow
from proxy.storage.errors import StorageError

LONGEST_GRACE_S: Final = 365 * 86_400.0


class KeyAdmin:
    """Every method raises CallerFault and GatewayFault `database_unavailable`."""

    def __init__(
        self,
        store: KeyStore,
        refresh: Callable[[], Awaitable[None]],
        *,
        prefix: str,
        now: Callable[[], float] = clock.wall,
    ) -> None:
        """`refresh` takes over what has changed in the store."""
        self._store = store
        self._refresh = refresh
        self._prefix = prefix
        self._now = now

    async def list(self) -> list[dict[str, Any]]:
        """Answer all keys, revoked ones too, the oldest first."""
        with _answered():
            rows = await api_keys.list_keys(self._store)
        now = self._now()
        return [shown_key(row, now) for row in rows]

    async def create(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Make a key; its `secret` is in this answer and nowhere else.

        Raises `missing_field`, `invalid_field`.
        """
        wanted = read_new(given)
        with _answered():
            issued = await api_keys.create_key(
                self._store, wanted, now=self._now(), prefix=self._prefix
            )
        return await self._issued(issued)

    async def change(self, key_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Change the members that are given. Raises `not_found`, `invalid_field`."""
        change = read_change(given)
        with _answered():
            row = await api_keys.update_key(
                self._store, key_id, change, now=self._now()
            )
        return await self._changed(row)

    async def revoke(self, key_id: str) -> dict[str, Any]:
        """End a key for good. Raises `not_found`."""
        with _answered():
            row = await api_keys.revoke_key(self._store, key_id, now=self._now())
        return await self._changed(row)

    async def rotate(
        self, key_id: str, given: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Give a key a new secret; the one before stays good for `grace_seconds`.

        Raises `not_found`, `invalid_field`.
        """
        grace_s = _grace_s(given or {})
        with _answered():
            issued = await api_keys.rotate_key(
                self._store, key_id, now=self._now(), grace_s=grace_s,
                prefix=self._prefix,
            )  # fmt: skip
        return await self._issued(issued)

    async def _issued(self, issued: Issued) -> dict[str, Any]:
        return {**await self._changed(issued.row), "secret": issued.secret}

    async def _changed(self, row: KeyRow) -> dict[str, Any]:
        """It is done, even if the database goes away before it is looked at again."""
        with suppress(StorageError):
            await self._refresh()
        return shown_key(row, self._now())


def _grace_s(given: Mapping[str, Any]) -> float:
    for name in given:
        if name != "grace_seconds":
            message = f"{name} is not known; there is grace_seconds."
            raise CallerFault("invalid_field", message, param=name)
    grace_s = given.get("grace_seconds", GRACE_S)
    is_number = isinstance(grace_s, int | float) and not isinstance(grace_s, bool)
    if (
        not is_number
        or not math.isfinite(grace_s)
        or not 0 <= grace_s <= LONGEST_GRACE_S
    ):
        raise CallerFault(
            "invalid_field",
            f"grace_seconds must be a number from 0 to {LONGEST_GRACE_S:.0f}.",
            param="grace_seconds",
        )
    return float(grace_s)


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise GatewayFault(
            "database_unavailable", f"The database does not answer: {error}."
        ) from error
