"""An upstream of raw TCP that does what a script says, faults included.

    async def cut_short(peer: Peer, request: Message) -> None:
        await peer.send(event_stream_head() + chunk(b"data: {"))
        peer.close()

    async with Faulty(cut_short) as upstream: ...

Each request but a probe runs the script once, after it was read whole and kept
in `upstream.requests`. Probes are answered as vLLM does. `upstream.peers` are
the connections, each of which knows since when its other end has been gone, and
`upstream.carriers` those of them that the requests came on, one for each.

An `early` script runs as soon as the head of its request is there; what follows of
the request is read afterwards, if the connection still stands.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self, cast

from tests.parts.http_text import Message, requests, whole
from tests.parts.ports import HOST

WRITE_LIMIT_BYTES = 1 << 16


class PeerGoneError(Exception):
    """The other end of the connection has gone while the script used it."""


class Peer(asyncio.Protocol):
    """One connection as its script sees it.

    `busy` while a script runs on it, `served` counts those that have ended; `deaf`
    once it has stopped to read. `gone_at` is the monotonic time at which the other
    end closed or reset, or at which we closed.
    """

    def __init__(self, faulty: Faulty) -> None:
        self._faulty = faulty
        self._received = bytearray()
        self._more = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport | None = None
        self.gone = asyncio.Event()
        self.gone_at: float | None = None
        self.busy = False
        self.deaf = False
        self.served = 0
        self.sent_bytes = 0

    @property
    def held(self) -> bool:
        """Whether the other end does not take what was sent."""
        return not self._writable.is_set()

    async def send(self, data: bytes) -> None:
        """Send, and wait while the other end does not take it. Raises PeerGoneError."""
        self._require().write(data)
        self.sent_bytes += len(data)
        if self.held:
            await self.wait(self._writable)

    async def dribble(self, data: bytes) -> None:
        """Send one byte at a time, each in a segment of its own."""
        for at in range(len(data)):
            await self.send(data[at : at + 1])
            await asyncio.sleep(0)

    async def wait(self, event: asyncio.Event) -> None:
        """Wait for `event`; raises PeerGoneError when the other end goes first."""
        waits = [asyncio.ensure_future(each.wait()) for each in (event, self.gone)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not event.is_set():
            raise PeerGoneError

    def stop_reading(self) -> None:
        """Take nothing more; the other end's writes fill up, its end is not seen."""
        self._require().pause_reading()
        self.deaf = True

    def finish(self) -> None:
        """Send FIN and go on reading."""
        self._require().write_eof()

    def close(self) -> None:
        """Send what is left, then FIN, and be done."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Drop the connection with RST."""
        transport = self._require()
        link: socket.socket = transport.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    async def request(self, *, early: bool = False) -> Message:
        """Read one whole request; `early`: look at it once its head is there, and
        take nothing. Raises PeerGoneError."""
        while True:
            found = requests(bytes(self._received))
            if found and early:
                return found[0]
            if found and found[0].complete:
                del self._received[: len(found[0].raw)]
                return found[0]
            self._more.clear()
            await self.wait(self._more)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass, though they are alike.
        transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=WRITE_LIMIT_BYTES)
        self._transport = transport
        self._faulty.joined(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._more.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.gone_at = time.monotonic()
        self.gone.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _require(self) -> asyncio.Transport:
        if self._transport is None or self._transport.is_closing():
            raise PeerGoneError
        return self._transport


Script = Callable[[Peer, Message], Awaitable[None]]


class Faulty:
    """The upstream; serves while it is open as a context. `script` may be swapped.

    It listens at any free port, or at the one it is given.
    """

    def __init__(
        self, script: Script, *, models: Sequence[str] = ("tiny",), port: int = 0
    ) -> None:
        self._port = port
        self.script = script
        self.early = False
        self.listens = False
        self.requests: list[Message] = []
        self.carriers: list[Peer] = []
        self.peers: list[Peer] = []
        self._listing = json.dumps({
            "object": "list",
            "data": [{"id": model, "object": "model", "created": 0, "owned_by": "vllm",
                      "max_model_len": 131072} for model in models],
        }).encode()  # fmt: skip
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Future[None]] = set()
        self._faults: list[BaseException] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Peer(self), HOST, self._port)
        self.listens = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.listens:
            self.stop_listening()
        for peer in self.open_peers:
            peer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert not self._faults, self._faults

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    def die(self) -> None:
        """Reset every connection and refuse all others, as a killed process does."""
        self.stop_listening()
        for peer in self.open_peers:
            peer.reset()

    def stop_listening(self) -> None:
        """Refuse every further connection; those that stand go on."""
        assert self._server is not None
        self._server.close()
        self.listens = False

    @property
    def open_peers(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.gone_at is None]

    @property
    def busy_peers(self) -> list[Peer]:
        """Connections that are open in the middle of a request."""
        return [peer for peer in self.open_peers if peer.busy]

    def joined(self, peer: Peer) -> None:
        """Begin to serve a new connection (called by its Peer)."""
        self.peers.append(peer)
        task = asyncio.ensure_future(self._serve(peer))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def _serve(self, peer: Peer) -> None:
        try:
            while True:
                early = self.early
                request = await peer.request(early=early)
                if (answer := self._probe_answer(request)) is not None:
                    await peer.send(answer)
                else:
                    self.requests.append(request)
                    self.carriers.append(peer)
                    peer.busy = True
                    await self.script(peer, request)
                    peer.busy = False
                    peer.served += 1
                if early:
                    await peer.request()
        except PeerGoneError:
            peer.close()

    def _probe_answer(self, request: Message) -> bytes | None:
        if request.method != "GET":
            return None
        answers = {"/health": b"{}", "/v1/models": self._listing}
        body = answers.get(request.target.partition("?")[0])
        return None if body is None else whole(body)

    def _ended(self, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._faults.append(error)
