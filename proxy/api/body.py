"""The JSON body of a request that a handler answers."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from providers.wire.members import MalformedJSON, Members, read_members
from proxy.api.context import Context
from proxy.core.errors import CallerFault
from proxy.relay.inflate import inflate
from proxy.server.body import StreamedBody


async def json_body(
    request: web.BaseRequest, context: Context, limit_bytes: int | None = None
) -> dict[str, Any]:
    """Read one JSON object, within the limits of any body, or a smaller one.

    Raises CallerFault `invalid_json`, `body_too_large`, `request_timeout`,
    `unsupported_media_type`.
    """
    return (await _read(request, context, limit_bytes))[1]


async def json_members(request: web.BaseRequest, context: Context) -> Members:
    """As `json_body`, for whoever reads a request as it would be sent."""
    return (await _read(request, context, None))[0]


async def _read(
    request: web.BaseRequest, context: Context, limit_bytes: int | None
) -> tuple[Members, dict[str, Any]]:
    server = context.config.server
    limit = min(server.max_body_bytes, limit_bytes or server.max_body_bytes)
    body = StreamedBody(
        request.content, request.content_length, server.body_idle_seconds
    )
    data = await body.read(limit)
    coding = request.headers.get("content-encoding")
    if coding is not None:
        data = inflate(data, coding, limit)
    try:
        members = read_members(data)  # one object, no name twice
        return members, orjson.loads(data)
    except MalformedJSON as error:
        raise CallerFault("invalid_json", f"{error}.") from error
    except orjson.JSONDecodeError as error:
        raise CallerFault("invalid_json", "The body is not valid JSON.") from error
