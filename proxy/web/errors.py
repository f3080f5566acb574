"""GET /errors: the catalogue of error codes."""

from __future__ import annotations

from dataclasses import asdict

import orjson
from aiohttp import web

from proxy.core.errors import CATALOGUE
from proxy.web.home import Site
from proxy.web.page import element, html_reply, page, table


async def errors(request: web.BaseRequest, _context: Site) -> web.Response:
    """Answer the catalogue as a JSON list, as a page to a browser."""
    if "text/html" in request.headers.get("accept", "").lower():
        return html_reply(_page())
    listed = [asdict(entry) for entry in CATALOGUE.values()]
    return web.Response(body=orjson.dumps(listed), content_type="application/json")


def _page() -> str:
    rows = (
        (
            str(entry.http_status),
            element("code", entry.code),
            entry.description,
            entry.remediation,
        )
        for entry in CATALOGUE.values()
    )
    head = ("Status", "Code", "Meaning", "What to do")
    return page("Errors", element("h1", "Errors"), table(head, rows))
