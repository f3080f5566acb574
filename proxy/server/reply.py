"""The one writer of relayed replies, whatever the door (docs/adr/0005).

It frames and writes to the caller's transport itself: aiohttp's StreamResponse
wants an await per chunk. Connection life (keep-alive, closing) stays with the
door, which asks `keep_alive` when the reply has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, Protocol

from proxy.core.call import Lane, Pausable, Tunnel
from proxy.core.outbox import Outbox
from proxy.core.types import Pair
from proxy.relay.head import REASONS, encode_fields

JOIN_BELOW: Final = 16 << 10  # one write for head and body, while copying is cheap
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
        "_bytes_out",
        "_chunked",
        "_finish",
        "_lane",
        "_last",
        "_left",
        "_opening",
        "_outbox",
        "_passes",
        "_request_is_read",
        "_send",
        "_source",
        "_version",
        "_wire",
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
        version: int,
        keep_alive: bool,
        bodiless: bool,
        request_is_read: Callable[[], bool] | None,
        outbox: Outbox | None = None,
    ) -> None:
        """`request_is_read` tells whether the connection stands at a new request; None:
        it does. With an `outbox` chunks leave at the end of a turn of the loop.
        """
        self._wire = wire
        self._outbox = outbox
        transport = wire.transport
        # Bound once: this is called for every chunk (bench: CPU per chunk).
        self._send: Callable[[bytes], None] = (
            _nowhere if transport is None else transport.write
        )
        self._finish: Callable[[bytes], None] = self._send
        self._last = b""
        self._opening = b""  # a stream's head, until its first bytes or the turn's end
        self._lane: Lane | None = None
        self._request_is_read = request_is_read
        self._version = version
        self._bodiless = bodiless
        self._chunked = False
        self._passes = False  # a chunk of the upstream's, as it came
        self.ended = False
        self._left: int | None = None
        self._source: Pausable | None = None
        self.keep_alive = keep_alive
        self.started = False
        self.gone = False
        self.paused = wire.writing_paused
        self._bytes_out = 0
        self.status = 0

    @property
    def bytes_out(self) -> int:
        return self._bytes_out + (self._lane.size_bytes if self._lane else 0)

    def keep_end(self) -> None:
        """Hold the last bytes back until `release`: until the call is recorded.

        Transports send at once, and what a caller has had must not be lost (docs/adr/0013).
        """
        self._finish = self._keep

    def release(self) -> None:
        """Send what was held back."""
        self._finish = self._send  # ours held us: no cycle stays
        if self._last:
            last, self._last = self._last, b""
            self._send(last)

    def _keep(self, data: bytes) -> None:
        self._last += data

    def start(
        self,
        status: int,
        headers: Sequence[Pair],
        length: int | None,
        block: bytes = b"",
    ) -> None:
        if self.gone or self.started:
            return
        head = self._head(status, headers, length, block)
        outbox = self._outbox
        if outbox is None or not self._passes:
            self._send(head)
        else:  # the first bytes are often here already: one write, not two
            self._opening = head
            outbox.open()
            outbox.waiting.append((self._begin, b""))

    def _begin(self, _: bytes) -> None:
        """Send the head that nothing has followed in this turn."""
        if self._opening:
            opening, self._opening = self._opening, b""
            self._send(opening)

    def whole(
        self, status: int, headers: Sequence[Pair], body: bytes, block: bytes = b""
    ) -> None:
        if self.gone or self.started:
            return
        head = self._head(status, headers, len(body), block)
        self.ended = True
        if self._bodiless:
            body = b""
        self._bytes_out += len(body)
        if len(body) < JOIN_BELOW:
            self._finish(head + body)
        else:
            self._send(head)
            self._finish(body)

    def _head(
        self, status: int, headers: Sequence[Pair], length: int | None, block: bytes
    ) -> bytes:
        self.started = True
        self.status = status
        if headers:
            block += encode_fields(headers)
        if self._request_is_read is not None and not self._request_is_read():
            self.keep_alive = False
        is_usual = self.keep_alive and self._version and status not in _NO_FRAMING
        if is_usual and length is not None:
            self._left = length
            return b"%b%bcontent-length: %d\r\n\r\n" % (
                _status_line(status),
                block,
                length,
            )
        return b"%b%b%b\r\n" % (
            _status_line(status),
            block,
            self._framing(status, length),
        )

    def _framing(self, status: int, length: int | None) -> bytes:
        text = b""
        if status in _NO_FRAMING:
            self._bodiless = True
        elif length is not None:
            text = b"content-length: %d\r\n" % length
            self._left = length
        elif self._version:
            text = b"transfer-encoding: chunked\r\n"
            self._chunked = True
            self._passes = not (self._bodiless or self.gone)
        else:
            self.keep_alive = False  # HTTP/1.0: the body ends with the connection
        if not self.keep_alive:
            text += b"connection: close\r\n"
        elif not self._version:
            text += b"connection: keep-alive\r\n"
        return text

    def write(self, data: bytes) -> None:
        if self.gone or self.ended or self._bodiless or not data:
            return
        size = len(data)
        if self._opening and not self.bytes_out:
            opening, self._opening = self._opening, b""
            self._bytes_out = size
            self._send(b"%b%x\r\n%b\r\n" % (opening, size, data))
            return
        self._catch_up()
        self._bytes_out += size
        if self._chunked:
            self._send(b"%x\r\n%b\r\n" % (size, data))
            return
        if self._left is not None:
            self._left -= size
            if self._left <= 0:
                self._finish(data)
                return
        self._send(data)

    def lend(self, lane: Lane) -> None:
        if self._passes and self._outbox is not None:
            self._lane = lane
            lane.open(self._send, self._outbox)

    def _catch_up(self) -> None:
        """Write what waits from before, so that all leaves in its order."""
        if self._outbox is not None and self._outbox.waiting:
            self._outbox.flush()

    def end(self, trailers: Sequence[Pair] = (), last: bytes = b"") -> None:
        if self.ended:
            return
        if self._chunked and not (self._bodiless or self.gone):
            self._end_chunks(trailers, last)
        else:
            self.write(last)
        self._stop()
        if self._left and not (self._bodiless or self.gone):
            self._close()  # fewer bytes than promised: nobody may take it for whole

    def _end_chunks(self, trailers: Sequence[Pair], last: bytes) -> None:
        self._catch_up()
        end = b"0\r\n%b\r\n" % encode_fields(trailers)
        if last:
            size = len(last)
            self._bytes_out += size
            end = b"%x\r\n%b\r\n%b" % (size, last, end)
        self._finish(end)

    def _stop(self) -> None:
        self.ended, self._passes = True, False
        if self._lane is not None:
            self._lane.shut()

    def abort(self) -> None:
        self.release()  # what had ended before is whole
        self._stop()
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
        self._send(_status_line(101) + encode_fields(headers) + b"\r\n")
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
        self.gone, self._passes = True, False
        if self._lane is not None:
            self._lane.shut()
        self._source = None
        self._opening = b""
        self._send = _nowhere

    def _close(self) -> None:
        """Close unfinished: what was written still goes out, then the connection."""
        self._catch_up()
        self.keep_alive = False
        transport = self._wire.transport
        if transport is not None:
            transport.close()


def _nowhere(_: bytes) -> None:
    """Where bytes go once the caller has gone."""


@lru_cache(maxsize=600)
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}\r\n".encode()
