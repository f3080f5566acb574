"""A recording tap: a TCP forwarder that keeps every byte of both directions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.parts.http_text import Message, requests, responses
from tests.parts.ports import HOST

READ_BYTES = 1 << 16


@dataclass(slots=True)
class Recorded:
    """One connection: what went to the target, and what came back.

    The first `known` requests are nobody's affair any more.
    """

    there: bytearray = field(default_factory=bytearray)
    back: bytearray = field(default_factory=bytearray)
    known: int = 0

    def exchanges(self) -> list[tuple[Message, Message]]:
        # The last request may be without an answer.
        asked, answered = requests(bytes(self.there)), responses(bytes(self.back))
        return list(zip(asked, answered, strict=False))


class Tap:
    """Listens on a free port and forwards to `target` (a URL) while it is open."""

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        assert address.hostname is not None
        assert address.port is not None
        self._target = address.hostname, address.port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections: list[Recorded] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    def exchanges(self, path: str) -> list[tuple[Message, Message]]:
        """Each request whose target begins with `path`, with its response."""
        return [
            (request, response)
            for connection in self.connections
            for request, response in connection.exchanges()[connection.known :]
            if request.target.startswith(path)
        ]

    def forget(self) -> None:
        """Tell no more of requests that have come so far."""
        for connection in self.connections:
            connection.known = len(requests(bytes(connection.there)))

    def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.ensure_future(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        recorded = Recorded()
        self.connections.append(recorded)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._open |= ends
        await asyncio.gather(
            _pump(reader, far_writer, recorded.there),
            _pump(far_reader, writer, recorded.back),
        )
        self._open -= ends
        for end in ends:
            end.close()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray
) -> None:
    try:
        while data := await reader.read(READ_BYTES):
            record += data
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()
