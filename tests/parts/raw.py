"""A caller of raw TCP: exactly these bytes there, exactly what came back."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from tests.parts.http_text import Message, responses

TIMEOUT_S = 20.0


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(url)
    return await asyncio.open_connection(address.hostname, address.port)


async def exchange(url: str, request: bytes) -> Message:
    """Send one request's bytes on a connection of its own and read the response."""
    reader, writer = await connect(url)
    try:
        writer.write(request)
        async with asyncio.timeout(TIMEOUT_S):
            return await read_response(reader)
    finally:
        writer.close()


async def read_response(reader: asyncio.StreamReader, start: bytes = b"") -> Message:
    """Read until a response is whole, or the connection ends.

    `start` is what was read of it already.
    """
    received = start
    while data := await reader.read(1 << 16):
        received += data
        found = responses(received)
        if found and found[0].complete and _has_length(found[0]):
            return found[0]
    found = responses(received)
    assert found, f"no response but {received!r}"
    return found[0]


def _has_length(message: Message) -> bool:
    return bool(message.header("content-length") or message.header("transfer-encoding"))
