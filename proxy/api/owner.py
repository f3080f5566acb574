"""Who may steer while authentication is off: the owner, from this machine, with the
local token (http-api §1).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from proxy.api.context import Context
from proxy.core.errors import CallerFault, GatewayFault
from proxy.core.types import Headers

Handler = Callable[[web.BaseRequest, Context], Awaitable[web.Response]]


def for_owner(handler: Handler) -> Handler:
    """Let only the owner through to a handler, while authentication is off.

    It raises CallerFault `forbidden`, `missing_authorization`, `invalid_token`,
    GatewayFault `not_configured`.
    """

    async def guarded(request: web.BaseRequest, context: Context) -> web.Response:
        # With authentication on, the scope has been checked (proxy.api.guard).
        if context.authenticator is None:
            check_owner(request, context)
        return await handler(request, context)

    return guarded


def check_owner(request: web.BaseRequest, context: Context) -> None:
    """Raise what `for_owner` says unless the owner asks."""
    headers = headers_of(request)
    if not context.access.is_owner(headers, request.remote or ""):
        raise CallerFault(
            "forbidden",
            "Admin routes are for the gateway's own machine: call them there, by a "
            "loopback address and through no proxy.",
        )
    if context.token is None:
        raise GatewayFault(
            "not_configured",
            "No local token could be kept, so that nobody is let in: make the data "
            "directory (PROXY_DATA_DIR) writable and restart.",
        )
    context.token.check(headers)


def headers_of(request: web.BaseRequest) -> Headers:
    return Headers(
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in request.raw_headers
    )
