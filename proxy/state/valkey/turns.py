"""Whose turn it is to look at something, and what was seen: of several processes one
looks, the others are told. Without the server everybody looks.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from proxy.state.base import Turn
from proxy.state.valkey.failures import Failures
from proxy.state.valkey.link import ERRORS, close, make_client
from proxy.state.valkey.scripts import ASK, SEEN
from proxy.state.valkey.standing import Standing

ANSWER_S: Final = 0.5
_MINE: Final = Turn(is_mine=True)


class ValkeyTurns:
    """Open as `async with`. It connects when it is first used."""

    def __init__(
        self, url: str, process: str, standing: Standing, failures: Failures
    ) -> None:
        self._url = url
        self._process = process
        self._standing = standing
        self._failures = failures
        self._client: Any = None

    async def __aenter__(self) -> ValkeyTurns:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await close(self._client)

    async def ask(self, about: str, max_age_s: float, lease_s: float) -> Turn:
        said = (about, self._process, round(max_age_s * 1000), round(lease_s * 1000))
        answer = await self._say(ASK, said)
        if answer is None:
            return _MINE
        is_mine, found = answer
        return Turn(bool(is_mine), found or None)

    async def end(self, about: str, found: bytes, keep_s: float) -> None:
        await self._say(SEEN, (about, self._process, found, round(keep_s * 1000)))

    async def _say(self, script: str, words: tuple[Any, ...]) -> Any:
        if self._standing.is_away:
            return None
        if self._client is None:
            self._client = make_client(self._url)
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._client.eval(script, 0, *words)
        except ERRORS as error:
            self._failures.note("turns", error)
            return None
