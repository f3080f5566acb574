"""A caller's connection without a socket, and replies on it."""

from __future__ import annotations

from typing import Any

from proxy.core.call import Pausable, Tunnel
from proxy.server.reply import TransportReply
from tests.parts.http_text import Message, responses


class Transport:
    def __init__(self) -> None:
        self.written = b""
        self.writes = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed, "written after it was closed"
        self.written += data
        self.writes += 1

    def close(self) -> None:
        self.closed = True


class Wire:
    """A caller's connection that keeps what is written."""

    def __init__(self, *, writing_paused: bool = False) -> None:
        self.transport: Any = Transport()
        self.writing_paused = writing_paused
        self.tunnel: Tunnel | None = None

    def tunnel_to(self, tunnel: Tunnel) -> Pausable:
        self.tunnel = tunnel
        return Source()

    @property
    def message(self) -> Message:
        [message] = responses(self.transport.written)
        return message


class Source:
    def __init__(self) -> None:
        self.paused = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


def reply_on(wire: Wire, **options: Any) -> TransportReply:
    usual: dict[str, Any] = {
        "version": 1,
        "keep_alive": True,
        "bodiless": False,
        "request_is_read": lambda: True,
    }
    return TransportReply(wire, **(usual | options))
