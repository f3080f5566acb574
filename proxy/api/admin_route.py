"""GET and POST /admin/route: who would serve a model, and why; nothing is sent.

GET names the model in the query, POST carries the request as it would be sent: what it
needs, how long it is and where its conversation was served before count then.
`operation` in the query says what is asked for, chat when it does not: a row of OpenAI's
or Anthropic's dialect, or of Ollama's (`ollama_chat` is /api/chat).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

import orjson
from aiohttp import web

from providers.base import ASKABLE, Operation
from providers.wire.dialect import Dialect
from providers.wire.members import Members, WrongType, read_members
from proxy.api.body import json_members
from proxy.api.context import Context
from proxy.api.reply import json_reply
from proxy.core.errors import CallerFault, GatewayError
from proxy.core.types import Headers
from proxy.routing.choose import Verdict
from proxy.routing.model import Candidate
from proxy.routing.question import Question
from proxy.routing.wake import sleeper

_CHAT: Final = "chat"
# What callers can ask for; nobody speaks Gemini's dialect to us.
_ASKED: Final = MappingProxyType({
    name: row for name, row in ASKABLE.items() if row.dialect is not Dialect.GEMINI
})  # fmt: skip


async def ask_route(request: web.BaseRequest, context: Context) -> web.Response:
    name = request.query.get("model")
    members = read_members(orjson.dumps({"model": name} if name else {}))
    return json_reply(_explained(context, request, members))


async def post_route(request: web.BaseRequest, context: Context) -> web.Response:
    members = await json_members(request, context)
    return json_reply(_explained(context, request, members))


def _explained(
    context: Context, request: web.BaseRequest, members: Members
) -> dict[str, Any]:
    operation = _operation(request)
    name, question = _question(request, members, operation)
    catalog, chooser = context.catalog(), context.dispatch.chooser
    resolution, kept = chooser.find(catalog, name, operation, question)
    verdicts = chooser.explain(resolution, question)
    fallbacks = (
        chooser.fallbacks(catalog, resolution, question)
        if kept
        else chooser.instead(catalog, resolution, question)
    )
    asleep = sleeper(resolution)
    error = None if kept or fallbacks else chooser.refusal(resolution, question)
    return {
        "model": name,
        "operation": operation.name,
        "candidates": [_row(order, one) for order, one in enumerate(verdicts, 1)],
        "fallbacks": [_place(one) for one in fallbacks],
        "wakes": asleep.id if asleep and not fallbacks else None,
        "error": _said(error),
    }


def _operation(request: web.BaseRequest) -> Operation:
    name = request.query.get("operation", _CHAT)
    if name not in _ASKED:
        message = f"`operation` is one of {', '.join(_ASKED)}."
        raise CallerFault("invalid_field", message, param="operation")
    return _ASKED[name]


def _question(
    request: web.BaseRequest, members: Members, operation: Operation
) -> tuple[str, Question]:
    try:
        name = members.text("model")
        if not name:
            message = "Name the model to be explained: set `model`."
            raise CallerFault("missing_field", message, param="model")
        pairs = [(key.lower(), value) for key, value in request.headers.items()]
        return name, Question(name, operation, members, Headers(pairs))
    except WrongType as error:
        raise CallerFault("invalid_field", f"{error}.", param=error.name) from error


def _row(order: int, verdict: Verdict) -> dict[str, Any]:
    return {
        "order": order if verdict.kept else None,
        "kept": verdict.kept,
        "reason": verdict.reason,
        "detail": verdict.detail,
        **_place(verdict.candidate),
    }


def _place(candidate: Candidate) -> dict[str, Any]:
    return {
        "provider": candidate.provider.id,
        "upstream_model": candidate.upstream_model,
        "status": candidate.provider.status,
    }


def _said(error: GatewayError | None) -> dict[str, str] | None:
    """What a caller would be told, if nobody is left."""
    return None if error is None else {"code": error.code, "message": error.message}
