"""A connection without a socket: what is written is kept, what is read is put in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

P = TypeVar("P", bound=asyncio.Protocol)


class FakeTransport(asyncio.Transport):
    """`feed` is the far end talking, `lose` its going away.

    `unsent` is what it has not taken yet; `reading` is False while we pause it.
    """

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._lost = False
        self.written = bytearray()
        self.unsent = 0
        self.reading = True
        self.aborted = False
        protocol.connection_made(self)

    def feed(self, data: bytes) -> None:
        assert not self.aborted, "a closed connection reads nothing"
        self._protocol.data_received(data)

    def lose(self, error: Exception | None = None) -> None:
        if not self._lost:
            self._lost = True
            self._protocol.connection_lost(error)

    def block(self) -> None:
        """Take nothing more of what is written."""
        self._protocol.pause_writing()

    def unblock(self) -> None:
        self._protocol.resume_writing()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written += data

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.aborted or self._lost

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.aborted:
            self.aborted = True
            self._loop.call_soon(self.lose)


class FakeDial:
    """In place of relay.dial.dial. Each connection is added to `made`.

    `failure` is raised instead; `hangs` never answers; `lost_at_once` connects to
    somebody who hangs up in the same moment.
    """

    def __init__(self) -> None:
        self.made: list[FakeTransport] = []
        self.failure: Exception | None = None
        self.hangs = False
        self.lost_at_once = False

    async def __call__(self, origin: object, factory: Callable[[], P]) -> P:
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        protocol = factory()
        self.made.append(FakeTransport(protocol))
        if self.lost_at_once:
            self.made[-1].lose()
        return protocol
