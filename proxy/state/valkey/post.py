"""The one conversation of a process with the server: everything goes through here.

What the parts have to say is gathered while the exchange before is under way, and
sent at once: however many requests ask, they share a round trip. A heartbeat every
second says again all that is held. When the server does not answer in time, the parts
are told, and it is looked for until it is found.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from proxy.core import clock, tasks
from proxy.state.valkey.link import ANSWER_S, CONNECT_S, Command, Link, LinkLost, News
from proxy.state.valkey.standing import Standing

BEAT_S: Final = 1.0
LOOK_BEATS: Final = 0.5
"""Between two attempts to find the server again."""

SILENT_BEATS: Final = 4

MOST_AT_ONCE: Final = 1000
_log: Final = logging.getLogger("local_ai.state")

Send = Callable[[Command, Callable[[Any], None]], None]


class Part(Protocol):
    """Speaks and hears through a post; `beat` tells that a second has passed."""

    def beat(self, send: Send) -> None: ...

    def speak(self, send: Send) -> None:
        """Send what is to be said now, in bounds."""
        ...

    def answered(self) -> None:
        """All answers of an exchange have been given."""
        ...

    def hear(self, news: News) -> None: ...

    def lose(self) -> None:
        """Nothing that was asked will be answered."""
        ...


class Post:
    """Open as `async with`: it then runs, whether the server is there or not."""

    def __init__(
        self,
        url: str,
        standing: Standing,
        beat_s: float = BEAT_S,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._url = url
        self._standing = standing
        self._beat_s = beat_s
        self._now = now
        self._parts: Sequence[Part] = ()
        self._farewell: Command | None = None
        self._rung = asyncio.Event()
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._next_beat = 0.0
        self._first = 0
        self._is_ending = False

    def serve(self, parts: Sequence[Part], farewell: Command) -> None:
        """Say whose post it is, and what is said last."""
        self._parts, self._farewell = parts, farewell

    def ring(self) -> None:
        """Ask for an exchange soon."""
        self._rung.set()

    async def __aenter__(self) -> Post:
        self._task = tasks.create(self._run())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_S + ANSWER_S):
                await self._tried.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_ending = True
        self.ring()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CONNECT_S + 2 * ANSWER_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._lose()

    async def _run(self) -> None:
        while not self._is_ending:
            try:
                silence_s = SILENT_BEATS * self._beat_s
                async with Link(self._url, self._hear, self.ring, silence_s) as link:
                    await self._converse(link)
            except LinkLost as error:
                self._note_loss(error)
            except Exception as error:
                _log.exception("the shared state failed")
                self._note_loss(error)
            self._tried.set()
            if not self._is_ending:
                await clock.sleep(LOOK_BEATS * self._beat_s)

    async def _converse(self, link: Link) -> None:
        self._next_beat = 0.0
        await self._exchange(link, self._beating_parts())
        if self._standing.losses:
            _log.warning("the shared state is back")
        self._standing.come_back()
        self._tried.set()
        for part in self._parts:
            part.answered()
        while not self._is_ending:
            await self._wait()
            await self._exchange(link, self._beating_parts())
        if self._farewell is not None:
            await link.exchange([self._farewell])

    async def _wait(self) -> None:
        """Until somebody rings or the heart has to beat."""
        if not self._rung.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._next_beat - self._now())):
                    await self._rung.wait()
        self._rung.clear()

    def _beating_parts(self) -> bool:
        now = self._now()
        if now < self._next_beat:
            return False
        self._next_beat = now + self._beat_s
        return True

    async def _exchange(self, link: Link, beats: bool) -> None:
        link.check()
        commands: list[Command] = []
        heard: list[Callable[[Any], None]] = []

        def send(command: Command, answer: Callable[[Any], None]) -> None:
            commands.append(command)
            heard.append(answer)

        if beats:
            for part in self._parts:
                part.beat(send)
        self._let_speak(commands, send)
        if not commands:
            return
        for answer, reply in zip(heard, await link.exchange(commands), strict=True):
            answer(reply)
        if not self._standing.is_away:
            for part in self._parts:
                part.answered()

    def _let_speak(self, commands: list[Command], send: Send) -> None:
        """Who finds no room speaks first in the next exchange, which comes at once."""
        parts = (*self._parts[self._first :], *self._parts[: self._first])
        for number, part in enumerate(parts):
            if len(commands) >= MOST_AT_ONCE:
                self._first = (self._first + number) % len(parts)
                self.ring()
                return
            part.speak(send)
        self._first = 0

    def _hear(self, news: News) -> None:
        for part in self._parts:
            part.hear(news)

    def _note_loss(self, error: Exception) -> None:
        if not self._standing.is_away or not self._tried.is_set():
            _log.warning("the shared state is away, going on alone: %s", error)
        self._lose()

    def _lose(self) -> None:
        self._standing.lose()
        for part in self._parts:
            part.lose()
