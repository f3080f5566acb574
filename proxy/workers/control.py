"""How workers speak: a question over a Unix socket, and one answer or a stream of them,
as lines of JSON.

Whoever may open the socket may ask: it is in a folder of the gateway's user alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import orjson

QUESTION_S: Final = 1.0
LONGEST_QUESTION: Final = 64 << 10
LONGEST_ANSWER: Final = 16 << 20
_log: Final = logging.getLogger("local_ai")

SILENCE_S: Final = 5.0
"""A stream says something more often than that, or has ended."""

Action = Callable[..., Awaitable[Any]]
Story = Callable[[], AsyncGenerator[Any]]


class NoAnswer(Exception):
    """Whoever was asked has gone, is stuck, or could not do it."""


async def ask(socket: Path, what: str, *words: Any, within_s: float) -> Any:
    """Ask one worker. Raises NoAnswer."""
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_unix_connection(
                socket, limit=LONGEST_ANSWER
            )
            try:
                writer.write(orjson.dumps([what, *words]) + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
        answer = orjson.loads(line)
    except (OSError, TimeoutError, ValueError) as error:
        raise NoAnswer(str(error) or type(error).__name__) from error
    if not isinstance(answer, list) or not answer:
        raise NoAnswer("it failed")
    return answer[0]


async def follow(socket: Path, what: str) -> AsyncGenerator[Any]:
    """Yield what one worker tells, until it ends. Raises NoAnswer when it has gone."""
    try:
        async with asyncio.timeout(QUESTION_S):
            reader, writer = await asyncio.open_unix_connection(
                socket, limit=LONGEST_ANSWER
            )
        try:
            writer.write(orjson.dumps([what]) + b"\n")
            while True:
                async with asyncio.timeout(SILENCE_S):
                    line = await reader.readline()
                if not line:
                    return
                yield orjson.loads(line)
        finally:
            writer.close()
    except (OSError, TimeoutError, ValueError) as error:
        raise NoAnswer(str(error) or type(error).__name__) from error


class Control:
    """Listens while it is open. `actions` are what may be asked, by name; `stories` what
    may be followed: each says something every second or so, which shows who has left.
    """

    def __init__(
        self,
        socket: Path,
        actions: Mapping[str, Action],
        stories: Mapping[str, Story] | None = None,
    ) -> None:
        self._socket = socket
        self._actions = actions
        self._stories = stories or {}
        self._listeners: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Control:
        self._socket.unlink(missing_ok=True)  # of one that was killed
        self._server = await asyncio.start_unix_server(
            self._serve, self._socket, limit=LONGEST_QUESTION
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for listener in self._listeners:
            listener.close()
        self._socket.unlink(missing_ok=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(QUESTION_S):
                what, *words = orjson.loads(await reader.readline())
            if what in self._stories:
                await self._tell(self._stories[what], writer)
            else:
                await _say(writer, await self._answer(what, words))
        writer.close()

    async def _tell(self, story: Story, writer: asyncio.StreamWriter) -> None:
        self._listeners.add(writer)
        try:
            async with aclosing(story()) as told:
                async for one in told:
                    await _say(writer, one)
        finally:
            self._listeners.discard(writer)

    async def _answer(self, what: str, words: list[Any]) -> list[Any]:
        """Answer a list of what was said; an empty one where it could not be done."""
        action = self._actions.get(what)
        if action is None:
            return []
        try:
            return [await action(*words)]
        except Exception:
            _log.exception("another worker asked for %r, which failed", what)
            return []


async def _say(writer: asyncio.StreamWriter, one: Any) -> None:
    writer.write(orjson.dumps(one) + b"\n")
    async with asyncio.timeout(QUESTION_S):
        await writer.drain()
