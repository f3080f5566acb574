"""GET /admin/requests, /admin/usage and their like: what is kept of finished requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import orjson
from aiohttp import web

from proxy.accounting.queries import Queries
from proxy.api.context import Context
from proxy.api.reply import json_reply
from proxy.core.errors import GatewayFault
from proxy.server.ordinary import PARAMS

_PAUSE_S: Final = 15.0
_KEEP_ALIVE: Final = b": nothing yet\n\n"


async def list_requests(request: web.BaseRequest, context: Context) -> web.Response:
    return json_reply(await _queries(context).page(request.query))


async def get_request(request: web.BaseRequest, context: Context) -> web.Response:
    return json_reply(await _queries(context).one(request[PARAMS]["id"]))


async def usage(request: web.BaseRequest, context: Context) -> web.Response:
    return json_reply(await _queries(context).usage(request.query))


async def daily_usage(request: web.BaseRequest, context: Context) -> web.Response:
    return json_reply(await _queries(context).daily(request.query))


async def stream_requests(_: web.BaseRequest, context: Context) -> web.Response:
    """Tell each request as it finishes, as an event, until the caller leaves."""
    return web.Response(
        body=_events(context),
        headers={
            "content-type": "text/event-stream",
            "cache-control": "no-store",
            "x-accel-buffering": "no",
        },
    )


async def _events(context: Context) -> AsyncIterator[bytes]:
    yield _KEEP_ALIVE  # the head goes out with it: the caller sees that it watches
    async for rows, missed in context.watch(_PAUSE_S):
        lines = [b"event: request\ndata: %b\n\n" % orjson.dumps(row) for row in rows]
        if missed:
            lines.append(b'event: missed\ndata: {"requests":%d}\n\n' % missed)
        yield b"".join(lines) or _KEEP_ALIVE


def _queries(context: Context) -> Queries:
    if context.records is None:
        raise GatewayFault("not_configured", "This gateway keeps no records.")
    return context.records.queries
