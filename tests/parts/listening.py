"""Small servers on this machine's own addresses, of either family, with or without TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.parts.http_text import Message, requests
from tests.parts.ports import HOST

TIMEOUT_S = 20.0
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(
    serve: Serve, *, host: str = HOST, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve each connection by `serve`, then close it; answers the port.

    The block has a deadline. What `serve` raises fails the test, but for the other
    end's going away.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def accept(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the other end has gone, or the test
        finally:
            writer.close()

    server = await asyncio.start_server(accept, host, 0, ssl=tls)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    faults = [
        one
        for one in ended
        if isinstance(one, Exception) and not isinstance(one, asyncio.CancelledError)
    ]
    assert not faults, faults


async def read_request(reader: asyncio.StreamReader, start: bytes = b"") -> Message:
    """Read one request of known length; `start` is what was read of it already."""
    received = start
    while not (found := requests(received)) or not found[0].complete:
        data = await reader.read(1 << 16)
        if not data:
            raise ConnectionResetError
        received += data
    return found[0]


def answering(reply: bytes, seen: list[Message]) -> Serve:
    """Answer each request with the same bytes and keep what was asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await read_request(reader))
            writer.write(reply)

    return serve


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything and never say a word."""
    while await reader.read(1 << 16):
        pass
