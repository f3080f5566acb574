"""The keys that an issuer publishes: fetched when needed, cached, asked for rarely.

An unknown key id is worth one question to the issuer in ten seconds, whoever sends how
many of them; known keys serve on while the issuer is away. Of what is published only
public keys of the pinned algorithms are taken: a symmetric key in a public list is a
trap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any, Final

import orjson
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from proxy.core import clock
from proxy.core.call import Fetch, FetchFailed
from proxy.core.run import in_task

FRESH_S: Final = 3600.0
"""How long keys are taken as they were read; one withdrawn serves no longer than that."""

STALE_S: Final = 86_400.0
"""How long they serve while the issuer cannot be asked."""

PAUSE_S: Final = 10.0
_MOST_KEYS: Final = 100
_LEAST_RSA_BITS: Final = 2048
_LIMIT_BYTES: Final = 1 << 20
_ALGORITHMS: Final = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
_log: Final = logging.getLogger("local_ai.auth")


class KeySet:
    """Finds an issuer's keys. `revision` changes with them."""

    def __init__(
        self,
        url: str,
        fetch: Fetch,
        algorithms: Collection[str],
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self.revision = 0
        self._url = url
        self._fetch = fetch
        self._algorithms = frozenset(algorithms)
        self._now = now
        self._keys: tuple[tuple[str | None, PyJWK], ...] = ()
        self._read_at = float("-inf")
        self._asked_at = float("-inf")
        self._alone = asyncio.Lock()

    @property
    def is_known(self) -> bool:
        """Tell whether there are keys to check with at all."""
        return self._now() - self._read_at < STALE_S

    def find(self, algorithm: str, key_id: str | None) -> tuple[PyJWK, ...] | None:
        """Answer the keys that may have signed so; None when asking is worth it."""
        now = self._now()
        age = now - self._read_at
        found = self._matching(algorithm, key_id) if age < STALE_S else ()
        if found and age < FRESH_S:
            return found
        return None if now - self._asked_at >= PAUSE_S else found

    async def refresh(self) -> None:
        """Ask the issuer, unless somebody just has. Never raises: see `is_known`."""
        await in_task()
        async with self._alone:
            before, now = self._asked_at, self._now()
            if now - before < PAUSE_S:
                return
            self._asked_at = now
            try:
                fetched = await self._fetch(
                    "GET",
                    self._url,
                    headers=[("accept", "application/json")],
                    limit_bytes=_LIMIT_BYTES,
                )
                if fetched.status != 200:
                    raise FetchFailed("broken", f"status {fetched.status}")
                self._take(_read(fetched.body, self._algorithms))
            except FetchFailed as error:
                _log.warning("The keys at auth.jwt.jwksUrl: %s", error)
            except asyncio.CancelledError:
                self._asked_at = before  # the next one asks in its place
                raise

    def _take(self, keys: tuple[tuple[str | None, PyJWK], ...]) -> None:
        self._keys = keys
        self._read_at = self._now()
        self.revision += 1

    def _matching(self, algorithm: str, key_id: str | None) -> tuple[PyJWK, ...]:
        """A token that names no key is taken where one alone can be meant."""
        keys = [(id_, k) for id_, k in self._keys if k.algorithm_name == algorithm]
        if key_id is None:
            return tuple(key for _, key in keys) if len(keys) == 1 else ()
        return tuple(key for id_, key in keys if id_ == key_id)


def _read(
    body: bytes, algorithms: Collection[str]
) -> tuple[tuple[str | None, PyJWK], ...]:
    """Raises FetchFailed for what is no set of keys."""
    try:
        listed = orjson.loads(body)["keys"][:_MOST_KEYS]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise FetchFailed("broken", "no set of keys") from error
    found = [_key(entry, algorithms) for entry in listed if isinstance(entry, dict)]
    return tuple(key for key in found if key is not None)


def _key(
    entry: dict[str, Any], algorithms: Collection[str]
) -> tuple[str | None, PyJWK] | None:
    kind = entry.get("kty")
    curve = None if kind == "RSA" else entry.get("crv")
    try:
        algorithm = _ALGORITHMS.get((kind, curve))  # type: ignore[arg-type]
    except TypeError:  # a list or object where a word should be
        return None
    key_id = entry.get("kid")
    if (
        algorithm not in algorithms
        or entry.get("alg", algorithm) != algorithm
        or entry.get("use", "sig") != "sig"
        or "d" in entry
        or not isinstance(key_id, str | None)
    ):
        return None
    try:
        key = PyJWK(entry, algorithm)
    except (PyJWTError, ValueError, TypeError):
        return None
    if kind == "RSA" and key.key.key_size < _LEAST_RSA_BITS:
        return None
    return key_id, key
