"""Bodies as the fast door has them when a call begins: whole, late, or left.

All three have stopped arriving, so reading them waits for nothing. Each
implements core.call.Body; the counterpart that still arrives is body.StreamedBody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from proxy.server.body import body_is_late, body_is_too_large


class WholeBody:
    """A body that has arrived."""

    __slots__ = ("length", "received", "whole")

    def __init__(self, data: bytes) -> None:
        self.whole: bytes | None = data
        self.received = len(data)
        self.length: int | None = self.received

    @property
    def is_here(self) -> bool:
        return True

    async def read(self, limit_bytes: int) -> bytes:
        if self.received > limit_bytes:
            raise body_is_too_large(limit_bytes)
        return self.whole or b""

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.whole or b""


class LateBody:
    """A body whose rest does not come: reading it says so."""

    __slots__ = ("length", "received", "whole")

    def __init__(self, length: int, received: int) -> None:
        self.whole: bytes | None = None
        self.received = received
        self.length: int | None = length

    @property
    def is_here(self) -> bool:
        return True

    async def read(self, limit_bytes: int) -> bytes:
        raise self._why()

    async def chunks(self) -> AsyncIterator[bytes]:
        yield await self.read(0)

    def _why(self) -> BaseException:
        return body_is_late()


class LeftBody(LateBody):
    """A body whose caller has gone: reading it ends the call, as leaving does."""

    __slots__ = ()

    def _why(self) -> BaseException:
        return asyncio.CancelledError()
