"""The built-in provider in place of a socket: a transport that plays its steps."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from providers.demo import Responder, Step

P = TypeVar("P", bound=asyncio.Protocol)


def connect(factory: Callable[[], P]) -> P:
    """Connect a protocol to a demo server of its own."""
    protocol = factory()
    protocol.connection_made(StageTransport(protocol))
    return protocol


class StageTransport(asyncio.Transport):
    """Feeds written bytes to a Responder and delivers its steps in time."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._responder = Responder()
        self._steps: deque[Step] = deque()
        self._timer: asyncio.Handle | None = None
        self._paused = False
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if not self._closing:
            self._steps.extend(self._responder.feed(bytes(data)))
            self._schedule()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._schedule()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if self._closing:
            return
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._steps.clear()
        self._loop.call_soon(self._protocol.connection_lost, None)

    def _schedule(self) -> None:
        if self._timer is None and self._steps and not self._paused:
            self._timer = self._loop.call_later(self._steps[0].delay_s, self._play)

    def _play(self) -> None:
        self._timer = None
        if self._paused or self._closing:
            return
        step = self._steps.popleft()
        if step.data:
            self._protocol.data_received(step.data)
        if step.close:
            self.abort()
        self._schedule()
