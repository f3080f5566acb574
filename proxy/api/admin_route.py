"""GET and POST /admin/route: who would serve a model, and why; nothing is sent.

GET names the model in the query, POST carries the request as it would be sent.
`operation` in the query says what is asked for, chat when it does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web

from providers.base import OPERATIONS, Operation
from proxy.api.body import json_body
from proxy.api.context import Context
from proxy.api.reply import json_reply
from proxy.core.errors import CallerFault, GatewayError
from proxy.routing import select
from proxy.routing.catalog import Candidate, Catalog, Resolution

_CHAT: Final = "chat"


async def ask_route(request: web.BaseRequest, context: Context) -> web.Response:
    name = request.query.get("model")
    return json_reply(_explained(context.catalog(), name, _operation(request)))


async def post_route(request: web.BaseRequest, context: Context) -> web.Response:
    name = (await json_body(request, context)).get("model")
    return json_reply(_explained(context.catalog(), name, _operation(request)))


def _operation(request: web.BaseRequest) -> Operation:
    name = request.query.get("operation", _CHAT)
    if name not in OPERATIONS:
        message = f"`operation` is one of {', '.join(OPERATIONS)}."
        raise CallerFault("invalid_field", message, param="operation")
    return OPERATIONS[name]


def _explained(catalog: Catalog, name: object, operation: Operation) -> dict[str, Any]:
    if not isinstance(name, str) or not name:
        message = "Name the model to be explained: set `model`."
        raise CallerFault("missing_field", message, param="model")
    resolution = catalog.resolve(name, operation)
    return {
        "model": name,
        "operation": operation.name,
        "candidates": list(_candidates(catalog, resolution)),
        "error": _error(resolution),
    }


def _candidates(catalog: Catalog, resolution: Resolution) -> Iterator[dict[str, Any]]:
    """Those who would be asked, in order, then those who would not."""
    kept = resolution.candidates
    for order, candidate in enumerate(kept, 1):
        why = "asked first" if order == 1 else "asked if those before it fail"
        yield _row(candidate, order, why)
    model = catalog.find(resolution.name)
    for candidate in model.candidates if model is not None else ():
        if candidate not in kept:
            yield _row(candidate, None, _why_not(candidate, resolution))


def _why_not(candidate: Candidate, resolution: Resolution) -> str:
    provider = candidate.provider
    if resolution.operation not in provider.adapter.capabilities.operations:
        return f"cannot do {resolution.operation}"
    error = f": {provider.last_error}" if provider.last_error else ""
    return f"is {provider.status}{error}"


def _row(candidate: Candidate, order: int | None, why: str) -> dict[str, Any]:
    return {
        "order": order,
        "kept": order is not None,
        "provider": candidate.provider.id,
        "upstream_model": candidate.upstream_model,
        "status": candidate.provider.status,
        "why": why,
    }


def _error(resolution: Resolution) -> dict[str, str] | None:
    """What a caller would be told, if nobody is left."""
    try:
        select.candidates(resolution)
    except GatewayError as error:
        return {"code": error.code, "message": error.message}
    return None
