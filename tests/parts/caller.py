"""A caller of raw TCP who keeps the connection, pipelines, leaves, and reads late."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.parts.http_text import Message, responses
from tests.parts.raw import connect

TIMEOUT_S = 10.0
BODILESS = (204, 304)


class Caller:
    """One connection. Every wait has a deadline."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._received = b""

    @classmethod
    async def at(cls, url: str) -> Caller:
        return cls(*await connect(url))

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def finish(self) -> None:
        """Send FIN and go on reading."""
        self._writer.write_eof()

    def leave(self) -> None:
        """Drop the connection."""
        self._writer.transport.abort()

    def stop_reading(self) -> None:
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def read_on(self) -> None:
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def until(self, mark: bytes) -> bytes:
        """Read until `mark` has come; what was read stays for `reply`."""
        async with asyncio.timeout(TIMEOUT_S):
            while mark not in self._received:
                assert await self._more(), f"ended without {mark!r}: {self._received!r}"
        return self._received

    async def reply(self, *, to_head: bool = False) -> Message:
        """Take the next whole reply; `to_head`: it is one to a HEAD."""
        async with asyncio.timeout(TIMEOUT_S):
            while not (found := self._next(to_head=to_head)):
                assert await self._more(), f"no reply but {self._received!r}"
        self._received = self._received[len(found.raw) :]
        return found

    async def rest(self) -> bytes:
        """Wait until the gateway has closed; answers what came before that."""
        pieces = [self._received]
        self._received = b""
        async with asyncio.timeout(TIMEOUT_S):
            while await self._more():
                pieces.append(self._received)
                self._received = b""
        return b"".join(pieces)

    async def last(self) -> Message:
        """Read to the end of the connection and take what came as one reply."""
        [found] = responses(await self.rest())
        return found

    async def _more(self) -> bool:
        try:
            data = await self._reader.read(1 << 16)
        except ConnectionError:
            return False
        self._received += data
        return bool(data)

    def _next(self, *, to_head: bool) -> Message | None:
        head, separator, _ = self._received.partition(b"\r\n\r\n")
        if not separator:
            return None
        [alone] = responses(head + separator)
        if to_head or alone.status < 200 or alone.status in BODILESS:
            return replace(alone, body=b"", complete=True)
        found = responses(self._received)[0]
        framed = found.header("content-length") or found.header("transfer-encoding")
        return found if found.complete and framed else None
