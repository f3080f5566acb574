"""A fake model server: answers as a kind does, or as a test scripts it.

It keeps every request as it was received and notes callers that went away.
Subclasses know a kind's paths; `script` puts an answer in the way of the next
request to a path. Nothing here sleeps: an answer waits for events a test sets.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]
JSON_TYPE = "application/json"
SSE_TYPE = "text/event-stream"
NDJSON_TYPE = "application/x-ndjson"


@dataclass(frozen=True)
class Received:
    """One request; `target` is path and query as sent, header names lower-case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """What to answer. More than one piece, or `cut`, is sent as a stream.

    `before_head` and `before_piece[n]` are waited for; `cut` drops the connection
    after the pieces, without ending the body.
    """

    status: int = 200
    pieces: tuple[bytes, ...] = (b"",)
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)
    before_head: asyncio.Event | None = None
    before_piece: Mapping[int, asyncio.Event] = field(default_factory=dict)
    cut: bool = False

    @classmethod
    def of(cls, value: Any, status: int = 200, **changes: Any) -> Answer:
        """A whole JSON answer."""
        return cls(status, (json.dumps(value).encode(),), **changes)


Maker = Callable[[Received], Answer]


class FakeUpstream:
    """Base of the fakes: `async with fake.serving(): … fake.url`."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.gone = 0  # callers that left before their answer was complete
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()
        self.url = ""
        self._scripts: dict[str, list[Answer]] = {}
        self._routes: dict[str, Maker] = self.routes()

    def routes(self) -> dict[str, Maker]:
        """`METHOD /path` → the kind's usual answer."""
        raise NotImplementedError

    def elsewhere(self, request: Received) -> Answer:
        """The kind's answer to a path it has not."""
        return Answer.of({"detail": "Not Found"}, 404)

    def script(self, path: str, *answers: Answer) -> None:
        """Answer the next requests to `path` so, in this order; then as usual."""
        self._scripts.setdefault(path, []).extend(answers)

    def of_path(self, path: str) -> list[Received]:
        return [r for r in self.received if r.target.partition("?")[0] == path]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeUpstream]:
        """Listen on a free loopback port."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{tail:.*}", self.handle)
        runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=1
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        try:
            received = await _receive(request)
            self.received.append(received)
            self.arrived.set()
            return await _give(request, self._answer(received))
        except (asyncio.CancelledError, ConnectionResetError):
            self.gone += 1
            self.left.set()
            raise

    def _answer(self, received: Received) -> Answer:
        path = received.target.partition("?")[0]
        waiting = self._scripts.get(path)
        if waiting:
            return waiting.pop(0)
        make = self._routes.get(f"{received.method} {path}", self.elsewhere)
        return make(received)


async def _receive(request: web.Request) -> Received:
    headers = tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in request.raw_headers
    )
    body = await request.read()
    return Received(request.method, request.raw_path, headers, body)


async def _give(request: web.Request, answer: Answer) -> web.StreamResponse:
    if answer.before_head is not None:
        await answer.before_head.wait()
    headers = {"content-type": answer.content_type, **answer.headers}
    if len(answer.pieces) == 1 and not answer.cut and not answer.before_piece:
        body = answer.pieces[0]
        return web.Response(status=answer.status, headers=headers, body=body)
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    for number, piece in enumerate(answer.pieces):
        if number in answer.before_piece:
            await answer.before_piece[number].wait()
        await response.write(piece)
    if answer.cut:
        if request.transport is not None:
            request.transport.close()  # what was written is flushed, the end is not
        return response
    await response.write_eof()
    return response


def sse(*events: Any, named: bool = False) -> tuple[bytes, ...]:
    """Server-sent events of JSON values (a str goes as it is), one piece each."""
    return tuple(_event(event, named) for event in events)


def ndjson(*values: Any) -> tuple[bytes, ...]:
    return tuple(json.dumps(value).encode() + b"\n" for value in values)


def _event(event: Any, named: bool) -> bytes:
    data = event if isinstance(event, str) else json.dumps(event)
    name = f"event: {event['type']}\n" if named else ""
    return f"{name}data: {data}\n\n".encode()
