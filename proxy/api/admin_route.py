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
from proxy.routing.catalog import Catalog, Resolution
from proxy.routing.choose import Reason, Verdict
from proxy.routing.model import Candidate

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
    verdicts = list(_verdicts(resolution))
    return {
        "model": name,
        "operation": operation.name,
        "candidates": [_row(order, one) for order, one in enumerate(verdicts, 1)],
        "error": _error(resolution),
    }


def _verdicts(resolution: Resolution) -> Iterator[Verdict]:
    """Those who would be asked, in order, then those who would not."""
    for candidate in resolution.candidates:
        yield Verdict(candidate, Reason.KEPT)
    for candidate in resolution.everyone:
        if candidate not in resolution.candidates:
            yield _dropped(candidate, resolution.operation)


def _dropped(candidate: Candidate, operation: str) -> Verdict:
    provider = candidate.provider
    if provider.adapter.way(OPERATIONS[operation]) is None:
        detail = f"{provider.kind} cannot do {operation}"
        return Verdict(candidate, Reason.UNABLE, detail)
    why = f": {provider.last_error}" if provider.last_error else ""
    return Verdict(candidate, Reason.OUT_OF_USE, f"{provider.status}{why}")


def _row(order: int, verdict: Verdict) -> dict[str, Any]:
    provider = verdict.candidate.provider
    return {
        "order": order if verdict.kept else None,
        "kept": verdict.kept,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "provider": provider.id,
        "upstream_model": verdict.candidate.upstream_model,
        "status": provider.status,
    }


def _error(resolution: Resolution) -> dict[str, str] | None:
    """What a caller would be told, if nobody is left."""
    try:
        select.candidates(resolution)
    except GatewayError as error:
        return {"code": error.code, "message": error.message}
    return None
