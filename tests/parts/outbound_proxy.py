"""A small outbound HTTP proxy: CONNECT, and requests for an absolute URL."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from tests.parts.http_text import Message, requests


class OutboundProxy:
    """`answer` is what it says to CONNECT; it tunnels only after a 200.

    `seen` are the requests it was sent itself, with what they said to it.
    """

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Established\r\n\r\n") -> None:
        self.answer = answer
        self.seen: list[Message] = []

    async def __call__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        request = requests(head)[0]
        self.seen.append(request)
        if request.method == "CONNECT":
            await self._tunnel(request, reader, writer)
        else:
            await self._forward(request, reader, writer)

    async def _tunnel(
        self,
        request: Message,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        writer.write(self.answer)
        if b" 200 " not in self.answer:
            return
        host, _, port = request.target.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(
            host.strip("[]"), int(port)
        )
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    async def _forward(
        self,
        request: Message,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        url = urlsplit(request.target)
        path = request.target.partition(f"//{url.netloc}")[2]
        far_reader, far_writer = await asyncio.open_connection(url.hostname, url.port)
        line = f"{request.method} {path} HTTP/1.1\r\n".encode()
        far_writer.write(line + request.raw.partition(b"\r\n")[2])
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()
