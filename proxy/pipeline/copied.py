"""Bodies copied as they pass: the caller's, and its reply's as the caller gets it.

On where `logging.requestLog.bodies` is. It stands around the pipeline, which knows
nothing of it: a call's body and its reply are put into wrappers, and what they have seen
is handed over when the call has ended. No header is seen here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from proxy.accounting.bodies import BodyLog, Copy
from proxy.core.call import Body, Call, Reply
from proxy.core.passed_reply import PassedReply
from proxy.core.types import Pair

Serve = Callable[[Call, Reply, Callable[[], object] | None], Coroutine[Any, Any, None]]


def run_copied(
    log: BodyLog,
    serve: Serve,
    call: Call,
    reply: Reply,
    cancel: Callable[[], object] | None = None,
) -> Coroutine[Any, Any, None]:
    """Serve the call, keep its bodies in `log`."""
    asked, answered = log.begin()
    body = CopiedBody(call.body, asked)
    work = serve(replace(call, body=body), CopiedReply(reply, answered), cancel)
    return _to_the_end(log, call.id, work, asked, answered)


async def _to_the_end(
    log: BodyLog,
    request_id: str,
    work: Coroutine[Any, Any, None],
    asked: Copy,
    answered: Copy,
) -> None:
    try:
        await work
    finally:
        log.put(request_id, asked, answered)


class CopiedBody:
    """Implements core.call.Body over another."""

    def __init__(self, body: Body, copy: Copy) -> None:
        self._body = body
        self._note: Callable[[bytes], None] = copy.add
        self.length = body.length
        self.received = body.received
        if body.whole is not None:
            self._note(body.whole)
            self._note = _known

    @property
    def whole(self) -> bytes | None:
        return self._body.whole

    @whole.setter
    def whole(self, value: bytes | None) -> None:
        self._body.whole = value

    @property
    def is_here(self) -> bool:
        return self._body.is_here

    async def read(self, limit_bytes: int) -> bytes:
        try:
            data = await self._body.read(limit_bytes)
        finally:
            self.received = self._body.received
        self._note(data)
        return data

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._body.chunks():
                self.received = self._body.received
                self._note(piece)
                yield piece
        finally:
            self.received = self._body.received


def _known(_: bytes) -> None:
    """What was copied when the call began is not copied again."""


class CopiedReply(PassedReply):
    """Implements core.call.Reply over another."""

    __slots__ = ("_copy",)

    def __init__(self, reply: Reply, copy: Copy) -> None:
        super().__init__(reply)
        self._copy = copy

    def whole(
        self, status: int, headers: Sequence[Pair], body: bytes, block: bytes = b""
    ) -> None:
        reply = self._reply
        before = reply.bytes_out
        reply.whole(status, headers, body, block)
        if reply.bytes_out > before:
            self._copy.add(body)

    def write(self, data: bytes) -> None:
        reply = self._reply
        before = reply.bytes_out
        reply.write(data)
        if reply.bytes_out > before:  # not where the caller has gone, nor after HEAD
            self._copy.add(data)
