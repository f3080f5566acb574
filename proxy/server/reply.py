"""The one writer of relayed replies, whatever the door (docs/adr/0005).

It frames and writes to the caller's transport itself: aiohttp's StreamResponse
wants an await per chunk. Connection life (keep-alive, closing) stays with the
door, which asks `keep_alive` when the reply has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from proxy.core.call import Pausable, Tunnel
from proxy.core.types import Pair
from proxy.relay.head import REASONS, is_safe_value

_NO_FRAMING: Final = frozenset({204, 304})


class Wire(Protocol):
    """The caller's connection, as far as a reply needs it."""

    transport: asyncio.Transport | None

    @property
    def writing_paused(self) -> bool: ...

    def tunnel_to(self, tunnel: Tunnel) -> Pausable: ...


class TransportReply:
    """Implements core.call.Reply. `version` is the caller's HTTP minor version."""

    __slots__ = (
        "_bodiless",
        "_chunked",
        "_left",
        "_request_is_read",
        "_source",
        "_version",
        "_wire",
        "bytes_out",
        "ended",
        "gone",
        "keep_alive",
        "paused",
        "started",
        "status",
    )

    def __init__(
        self,
        wire: Wire,
        *,
        version: int,
        keep_alive: bool,
        bodiless: bool,
        request_is_read: Callable[[], bool],
    ) -> None:
        """`request_is_read` tells whether the connection stands at a new request."""
        self._wire = wire
        self._request_is_read = request_is_read
        self._version = version
        self._bodiless = bodiless
        self._chunked = False
        self.ended = False
        self._left: int | None = None
        self._source: Pausable | None = None
        self.keep_alive = keep_alive
        self.started = False
        self.gone = False
        self.paused = wire.writing_paused
        self.bytes_out = 0
        self.status = 0

    def start(self, status: int, headers: Sequence[Pair], length: int | None) -> None:
        if self.gone or self.started:
            return
        self.started = True
        self.status = status
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers if is_safe_value(value)]
        if not self._request_is_read():
            self.keep_alive = False
        if status in _NO_FRAMING:
            self._bodiless = True
        elif length is not None:
            lines.append(f"content-length: {length}")
            self._left = length
        elif self._version:
            lines.append("transfer-encoding: chunked")
            self._chunked = True
        else:
            self.keep_alive = False  # HTTP/1.0: the body ends with the connection
        if not self.keep_alive:
            lines.append("connection: close")
        elif not self._version:
            lines.append("connection: keep-alive")
        self._send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    def write(self, data: bytes) -> None:
        if self.gone or self.ended or self._bodiless or not data:
            return
        self.bytes_out += len(data)
        if self._chunked:
            self._send(b"%x\r\n%b\r\n" % (len(data), data))
            return
        if self._left is not None:
            self._left -= len(data)
        self._send(data)

    def end(self, trailers: Sequence[Pair] = ()) -> None:
        if self.ended:
            return
        self.ended = True
        if self.gone:
            return
        if self._left and not self._bodiless:
            self._close()  # fewer bytes than promised: nobody may take it for whole
        elif self._chunked and not self._bodiless:
            fields = "".join(
                f"{name}: {value}\r\n"
                for name, value in trailers
                if is_safe_value(value)
            )
            self._send(b"0\r\n%b\r\n" % fields.encode("latin-1"))

    def abort(self) -> None:
        self.ended = True
        if not self.gone:
            self._close()

    def feed_from(self, source: Pausable | None) -> None:
        self._source = source
        if source is not None and self.paused:
            source.pause()

    def upgrade(self, headers: Sequence[Pair], tunnel: Tunnel) -> Pausable:
        self.started = True
        self.keep_alive = False
        self.status = 101
        lines = ["HTTP/1.1 101 Switching Protocols"]
        lines += [f"{name}: {value}" for name, value in headers if is_safe_value(value)]
        self._send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        return self._wire.tunnel_to(tunnel)

    # -- the connection's side ------------------------------------------------

    def hold(self) -> None:
        """The caller reads slowly."""
        self.paused = True
        if self._source is not None:
            self._source.pause()

    def go_on(self) -> None:
        self.paused = False
        if self._source is not None:
            self._source.resume()

    def lost(self) -> None:
        """The caller has gone."""
        self.gone = True
        self._source = None

    def _send(self, data: bytes) -> None:
        transport = self._wire.transport
        if transport is not None:
            transport.write(data)

    def _close(self) -> None:
        """Close unfinished: what was written still goes out, then the connection."""
        self.keep_alive = False
        transport = self._wire.transport
        if transport is not None:
            transport.close()
