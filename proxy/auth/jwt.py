"""Tokens issued elsewhere: their signature, with the algorithm pinned on our side.

HS256 is checked with the configured secret alone, the others with the issuer's
published keys alone, so that no public key ever serves as a secret. What a token's
head says of keys (jku, jwk, x5u) is not looked at but for the key's id, which only
picks from the published ones. What the claims mean is in proxy.auth.claims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson
from jwt import PyJWK, PyJWS
from jwt.exceptions import InvalidTokenError, PyJWTError
from jwt.utils import base64url_decode

from proxy.auth.claims import invalid, read_claims
from proxy.auth.jwks import PAUSE_S, KeySet
from proxy.auth.key_table import Known
from proxy.config.schema_policy import JwtConfig
from proxy.core import clock
from proxy.core.call import Fetch
from proxy.core.errors import GatewayFault

HS256: Final = "HS256"
LEAST_SECRET_BYTES: Final = 32
_LONGEST: Final = 16_384
_LONGEST_KEY_ID: Final = 256


class Jwt:
    """Reads tokens. Raises ValueError for a secret that could be guessed."""

    def __init__(
        self,
        config: JwtConfig,
        fetch: Fetch,
        *,
        now: Callable[[], float] = clock.wall,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        secret = (config.secret or "").encode()
        if secret and len(secret) < LEAST_SECRET_BYTES:
            raise ValueError(
                f"auth.jwt.secret has less than {LEAST_SECRET_BYTES} bytes"
            )
        self._config = config
        self._now = now
        self._jws = PyJWS(algorithms=list(config.algorithms))
        self._algorithms = frozenset(config.algorithms)
        self._secret = secret if HS256 in self._algorithms else b""
        published = self._algorithms - {HS256}
        self._keys = (
            KeySet(config.jwks_url, fetch, published, monotonic)
            if config.jwks_url and published
            else None
        )

    @property
    def revision(self) -> int:
        """Changes when what was read may not hold any more."""
        return 0 if self._keys is None else self._keys.revision

    def try_read(self, token: str) -> Known | None:
        """Answer whom a token names; None where the issuer has to be asked first.

        Raises CallerFault `invalid_token`, `expired_token`.
        """
        algorithm, key_id = self._head(token)
        keys = self._keys_for(algorithm, key_id)
        return None if keys is None else self._read(token, algorithm, keys)

    async def read(self, token: str) -> Known:
        """As `try_read`, but asks; GatewayFault `upstream_error` if nobody answers."""
        algorithm, key_id = self._head(token)
        keys = self._keys_for(algorithm, key_id)
        if keys is None and self._keys is not None:
            await self._keys.refresh()
            keys = self._keys.find(algorithm, key_id)
            if not keys and not self._keys.is_known:
                raise GatewayFault(
                    "upstream_error",
                    "The token cannot be checked now: its issuer's keys are out of "
                    "reach.",
                    retry_after_s=PAUSE_S,
                )
        return self._read(token, algorithm, keys or ())

    def _head(self, token: str) -> tuple[str, str | None]:
        if len(token) > _LONGEST:
            raise invalid("The token is too long.")
        try:
            head = orjson.loads(base64url_decode(token.partition(".")[0]))
        except ValueError as error:
            raise invalid("The token's head cannot be read.") from error
        if not isinstance(head, dict) or "crit" in head:
            raise invalid("The token asks for what is not known here.")
        algorithm, key_id = head.get("alg"), head.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise invalid("The token is signed in a way that is not accepted.")
        if key_id is not None and not (
            isinstance(key_id, str) and len(key_id) <= _LONGEST_KEY_ID
        ):
            raise invalid("The token names no proper key.")
        return algorithm, key_id

    def _keys_for(
        self, algorithm: str, key_id: str | None
    ) -> Sequence[bytes | PyJWK] | None:
        if algorithm == HS256:
            return (self._secret,) if self._secret else ()
        return () if self._keys is None else self._keys.find(algorithm, key_id)

    def _read(self, token: str, algorithm: str, keys: Sequence[bytes | PyJWK]) -> Known:
        for key in keys:
            try:
                found = self._jws.decode_complete(token, key, algorithms=[algorithm])
            except InvalidTokenError:
                continue
            except (PyJWTError, ValueError, TypeError) as error:
                raise invalid("The token cannot be read.") from error
            return read_claims(_claims(found["payload"]), self._config, self._now())
        raise invalid("The token's signature is not valid here.")


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise invalid("The token's claims cannot be read.") from error
    if not isinstance(found, dict):
        raise invalid("The token's claims cannot be read.")
    return found
