"""Who calls: a credential becomes a principal.

Clients send the same head again and again, so the answer is remembered with the head,
and beside it what it depends on: the revision of who knew it, the keys or the tokens,
and the moment until which it holds. Tokens that were checked are remembered by the hash
of the whole of them. A known credential costs less than a microsecond, a key that comes
with a new head four.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from proxy.auth.api_keys import hash_of
from proxy.auth.credential import credential
from proxy.auth.key_table import KeyTable, Known
from proxy.core import clock
from proxy.core.errors import CallerFault
from proxy.core.types import Headers, Principal

REMEMBERED_TOKENS: Final = 4096


class Tokens(Protocol):
    """Reads tokens issued elsewhere; proxy.auth.jwt does."""

    @property
    def revision(self) -> int: ...

    def try_read(self, token: str) -> Known | None: ...

    async def read(self, token: str) -> Known: ...


class _Answer(Struct, frozen=True, eq=False):
    """Holds until a moment, and while its source is at that revision."""

    source: KeyTable | Tokens
    revision: int
    until: float
    principal: Principal


class Authenticator:
    """Answers who calls; without `tokens` only keys are taken."""

    def __init__(
        self,
        keys: KeyTable,
        tokens: Tokens | None = None,
        now: Callable[[], float] = clock.wall,
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self._now = now
        self._read: OrderedDict[str, _Answer] = OrderedDict()

    def try_authenticate(self, headers: Headers) -> Principal | None:
        """Answer who calls; None where `authenticate` has to be awaited.

        Raises CallerFault `missing_authorization`, `invalid_api_key`,
        `expired_api_key`, `invalid_token`, `expired_token`.
        """
        now = self._now()
        known: _Answer | None = headers.memo.get(self)
        if (
            known is not None
            and now < known.until
            and known.revision == known.source.revision
        ):
            principal = known.principal
            if principal.key is not None:
                self._keys.used[principal.key] = now
            return principal
        answer = self._try(_shown(headers), now)
        if answer is None:
            return None
        headers.memo[self] = answer
        return answer.principal

    async def authenticate(self, headers: Headers) -> Principal:
        """As `try_authenticate`, but asks a token's issuer where that is needed.

        Raises besides GatewayFault `upstream_error`.
        """
        principal = self.try_authenticate(headers)
        if principal is None:
            principal = await self.identify(_shown(headers))
        return principal

    async def identify(self, given: str) -> Principal:
        """Answer whose credential this is, wherever it stood (a path, for instance)."""
        answer = self._try(given, self._now())
        if answer is None:
            assert self._tokens is not None
            known = await self._tokens.read(given)
            answer = self._remember(hash_of(given), self._tokens, known)
        return answer.principal

    def _try(self, given: str, now: float) -> _Answer | None:
        digest = hash_of(given)
        known = self._keys.find(digest, now)
        if known is not None:
            assert known.principal.key is not None
            self._keys.note_used(known.principal.key, now)
            return _answer(self._keys, known)
        if given.count(".") != 2:
            raise CallerFault("invalid_api_key", "This API key is not valid here.")
        return self._try_token(given, digest, now)

    def _try_token(self, given: str, digest: str, now: float) -> _Answer | None:
        tokens = self._tokens
        if tokens is None:
            raise CallerFault("invalid_token", "No tokens are accepted here.")
        answer = self._read.get(digest)
        if answer is not None:
            if now < answer.until and answer.revision == tokens.revision:
                self._read.move_to_end(digest)
                return answer
            del self._read[digest]
        known = tokens.try_read(given)
        return None if known is None else self._remember(digest, tokens, known)

    def _remember(self, digest: str, tokens: Tokens, known: Known) -> _Answer:
        """Remember a token that was found to be good; bad ones leave no trace."""
        answer = _answer(tokens, known)
        self._read[digest] = answer
        if len(self._read) > REMEMBERED_TOKENS:
            self._read.popitem(last=False)
        return answer


def _answer(source: KeyTable | Tokens, known: Known) -> _Answer:
    return _Answer(source, source.revision, known.until, known.principal)


def _shown(headers: Headers) -> str:
    given = credential(headers)
    if given is None:
        raise CallerFault(
            "missing_authorization",
            "Send a key or token as `Authorization: Bearer`, or as x-api-key.",
        )
    return given
