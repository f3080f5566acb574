"""The caller's body over aiohttp's stream: limits, pauses and 100-continue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from aiohttp import StreamReader
from aiohttp.web import RequestPayloadError

from proxy.core.errors import CallerFault
from proxy.core.pieces import Pieces


class StreamedBody:
    """Implements core.call.Body. `on_first_read` lets the caller begin to send."""

    def __init__(
        self,
        content: StreamReader,
        length: int | None,
        idle_s: float,
        on_first_read: Callable[[], None] | None = None,
    ) -> None:
        self.length = length
        self.received = 0
        self.whole: bytes | None = None
        self._content = content
        self._idle_s = idle_s
        self._on_first_read = on_first_read

    @property
    def is_here(self) -> bool:
        return self._content.is_eof()

    async def read(self, limit_bytes: int) -> bytes:
        if self.length is not None and self.length > limit_bytes:
            raise body_is_too_large(limit_bytes)
        pieces = Pieces()
        async for piece in self.chunks():
            pieces.add(piece)
            if pieces.size > limit_bytes:
                raise body_is_too_large(limit_bytes)
        return pieces.take()

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._on_first_read is not None:
            self._on_first_read()
            self._on_first_read = None
        while piece := await self._next():
            self.received += len(piece)
            yield piece

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._idle_s):
                return await self._content.readany()
        except TimeoutError as error:
            raise body_is_late() from error
        except RequestPayloadError as error:
            raise CallerFault(
                "invalid_field",
                "The body's chunked framing is malformed or it ended early.",
                param="body",
            ) from error


def body_is_late() -> CallerFault:
    return CallerFault("request_timeout", "The body did not arrive in time.")


def body_is_too_large(limit_bytes: int) -> CallerFault:
    return CallerFault(
        "body_too_large", f"The body is larger than {limit_bytes} bytes."
    )
