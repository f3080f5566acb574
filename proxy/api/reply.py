"""How handlers answer with JSON."""

from __future__ import annotations

import orjson
from aiohttp import web


def json_reply(document: object, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(document),
        status=status,
        content_type="application/json",
        headers={"cache-control": "no-store"},
    )


def accepts_json(request: web.BaseRequest) -> bool:
    return "application/json" in request.headers.get("accept", "").lower()
