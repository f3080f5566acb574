"""A caller's side that keeps what it is sent."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.core.call import Lane, Pausable, Tunnel
from proxy.core.outbox import Outbox
from proxy.core.types import Pair


class KeptReply:
    """Implements core.call.Reply; `body` is what the caller got so far.

    `hold` and `go_on` are the caller reading too slowly and catching up.
    """

    def __init__(self) -> None:
        self.forwarded = 0
        self.started = False
        self.ended = False
        self.gone = False
        self.paused = False
        self.aborted = False
        self.bytes_out = 0
        self.status = 0
        self.headers: list[Pair] = []
        self.block = b""
        self.length: int | None = None
        self.body = bytearray()
        self.writes: list[bytes] = []
        self.trailers: list[Pair] = []
        self.source: Pausable | None = None
        self.tunnel: Tunnel | None = None
        self.tunnel_paused = False

    def start(
        self,
        status: int,
        headers: Sequence[Pair],
        length: int | None,
        block: bytes = b"",
    ) -> None:
        assert not self.started
        self.started = True
        self.status, self.headers, self.length = status, list(headers), length
        self.block = block

    def whole(
        self, status: int, headers: Sequence[Pair], body: bytes, block: bytes = b""
    ) -> None:
        self.start(status, headers, len(body), block)
        self.write(body)
        self.end()

    def write(self, data: bytes) -> None:
        assert self.started and not self.ended
        self.body += data
        self.writes.append(bytes(data))
        self.bytes_out += len(data)

    def lend(self, lane: Lane) -> None:
        outbox = Outbox()
        outbox.alone = 1 << 20
        lane.open(self._forward, outbox)

    def _forward(self, frame: bytes) -> None:
        self.forwarded += 1
        size, _, rest = frame.partition(b"\r\n")
        self.write(rest[: int(size, 16)])

    def end(self, trailers: Sequence[Pair] = (), last: bytes = b"") -> None:
        assert not self.ended
        if last:
            self.write(last)
        self.ended = True
        self.trailers = list(trailers)

    def abort(self) -> None:
        self.ended = self.aborted = True

    def feed_from(self, source: Pausable | None) -> None:
        self.source = source
        if source is not None and self.paused:
            source.pause()

    def upgrade(self, headers: Sequence[Pair], tunnel: Tunnel) -> Pausable:
        self.started = True
        self.status, self.headers, self.tunnel = 101, list(headers), tunnel
        return _CallerReads(self)

    def hold(self) -> None:
        self.paused = True
        if self.source is not None:
            self.source.pause()

    def go_on(self) -> None:
        self.paused = False
        if self.source is not None:
            self.source.resume()


class _CallerReads:
    """What the far end of a tunnel pauses while it takes no more."""

    def __init__(self, reply: KeptReply) -> None:
        self._reply = reply

    def pause(self) -> None:
        self._reply.tunnel_paused = True

    def resume(self) -> None:
        self._reply.tunnel_paused = False
