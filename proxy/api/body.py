"""The JSON body of an admin request."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from proxy.api.context import Context
from proxy.core.errors import CallerFault
from proxy.server.body import StreamedBody


async def json_body(request: web.BaseRequest, context: Context) -> dict[str, Any]:
    """Read one JSON object, within the limits of any body.

    Raises CallerFault `invalid_json`, `body_too_large`, `request_timeout`.
    """
    server = context.config.server
    body = StreamedBody(
        request.content, request.content_length, server.body_idle_seconds
    )
    try:
        document = orjson.loads(await body.read(server.max_body_bytes))
    except orjson.JSONDecodeError as error:
        raise CallerFault("invalid_json", "The body is not valid JSON.") from error
    if not isinstance(document, dict):
        raise CallerFault("invalid_json", "The body is not a JSON object.")
    return document
