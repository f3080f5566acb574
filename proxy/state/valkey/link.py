"""Connections to the server: one for commands, one for news; and plain
clients for what is large. The driver's only user.

A link lives until something goes wrong with it, in time or in what is answered; then
another is made. Nothing is tried twice here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final

import orjson
from valkey.asyncio import Valkey
from valkey.asyncio.client import PubSub
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import ValkeyError

from proxy.core import tasks
from proxy.state.valkey.scripts import NEWS, SCRIPTS

ANSWER_S: Final = 1.0
"""The longest that an answer is waited for: a busy machine must not look like a lost one."""

CONNECT_S: Final = 1.0
CLOSE_S: Final = 1.0
ERRORS: Final = (ValkeyError, OSError, TimeoutError)
"""What a client raises when it does not get what it asked for."""

_SCHEMES: Final = {"redis": "valkey", "rediss": "valkeys"}

Command = tuple[str, tuple[str, ...], tuple[str | float, ...]]
"""A script, its keys and its arguments; or PUBLISH, with what is said."""

News = list[Any]


class LinkLost(Exception):
    """The server cannot be asked now; says why."""


class Link:
    """Open as `async with`. Everything raises LinkLost when the link is lost.

    Whoever hears nothing for `silence_s`, not even its own heartbeat, has lost it.
    """

    def __init__(
        self,
        url: str,
        on_news: Callable[[News], None],
        on_loss: Callable[[], None],
        silence_s: float,
    ) -> None:
        self._client = make_client(url)
        # Channels know no databases, unlike keys: one for each.
        self._channel = f"{NEWS}:{_database(self._client)}"
        self._on_news = on_news
        self._on_loss = on_loss
        self._silence_s = silence_s
        self._news: PubSub = self._client.pubsub()
        self._hearing: asyncio.Task[None] | None = None
        self._names: dict[str, str] = {}

    async def __aenter__(self) -> Link:
        try:
            async with asyncio.timeout(CONNECT_S):
                for script in SCRIPTS:
                    text = script.replace(f"'{NEWS}'", f"'{self._channel}'")
                    self._names[script] = await self._client.script_load(text)
                await self._news.subscribe(self._channel)
        except ERRORS as error:
            await self._close()
            raise LinkLost(_said(error)) from error
        except BaseException:
            await self._close()
            raise
        self._hearing = tasks.create(self._hear())
        self._hearing.add_done_callback(lambda _: self._on_loss())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.gather(self._hearing, return_exceptions=True)
        await self._close()

    def check(self) -> None:
        hearing = self._hearing
        if hearing is not None and hearing.done() and not hearing.cancelled():
            error = hearing.exception()
            raise LinkLost("no more news" if error is None else _said(error))

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send all at once and answer all replies, in order."""
        pipeline = self._client.pipeline(transaction=False)
        for what, keys, arguments in commands:
            if what == "PUBLISH":
                pipeline.execute_command("PUBLISH", self._channel, *arguments)
            else:
                name = self._names[what]
                pipeline.execute_command("EVALSHA", name, len(keys), *keys, *arguments)
        try:
            async with asyncio.timeout(ANSWER_S):
                replies: list[Any] = await pipeline.execute(raise_on_error=True)
        except ERRORS as error:
            raise LinkLost(_said(error)) from error
        return replies

    async def _hear(self) -> None:
        while True:
            async with asyncio.timeout(self._silence_s):
                message = await self._news.get_message(
                    ignore_subscribe_messages=True, timeout=None
                )
            if message is not None and (news := _read(message["data"])) is not None:
                self._on_news(news)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._news.aclose()  # type: ignore[no-untyped-call]
                await self._client.aclose()
        except ERRORS:
            await self._client.connection_pool.disconnect()


def make_client(url: str) -> Valkey:
    """Make a client that tries nothing twice and connects when it is first used."""
    client: Valkey = Valkey.from_url(
        _spelled_for_driver(url),
        socket_connect_timeout=CONNECT_S,
        socket_timeout=None,  # deadlines are set by who asks
        retry=Retry(NoBackoff(), 0),
    )
    return client


async def close(client: Valkey) -> None:
    """Close its connections, in time whatever the server does."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await client.aclose()
    except ERRORS:
        pass  # the process has let go of them


def _spelled_for_driver(url: str) -> str:
    """The driver takes no redis:// of its sister project, which is the same."""
    scheme, found, rest = url.partition("://")
    return _SCHEMES.get(scheme, scheme) + found + rest


def _database(client: Valkey) -> int:
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def _read(data: Any) -> News | None:
    """Answer what was said; None for what no gateway says."""
    try:
        news = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    is_ours = isinstance(news, list) and all(isinstance(word, str) for word in news[:2])
    return news if is_ours and len(news) >= 2 else None


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
