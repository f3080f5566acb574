"""GET /v1/models and GET /v1/models/{id}: in OpenAI's shape, or Anthropic's.

Anthropic's when the request carries `anthropic-version`, with its pages.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from proxy.api.context import Context
from proxy.api.guard import check_usable, usable
from proxy.api.model_shapes import anthropic_model, openai_model
from proxy.api.reply import json_reply
from proxy.core.errors import CallerFault
from proxy.routing import select
from proxy.routing.model import Model
from proxy.server.ordinary import PARAMS

_PAGE: Final = 20
_LONGEST_PAGE: Final = 1000


async def list_models(request: web.BaseRequest, context: Context) -> web.Response:
    models = usable(_asked(request, context), request)
    if _wants_anthropic(request):
        return json_reply(_page(models, request))
    data = [openai_model(model.id, model) for model in models]
    return json_reply({"object": "list", "data": data})


async def get_model(request: web.BaseRequest, context: Context) -> web.Response:
    name = request[PARAMS]["id"]
    model = select.model(context.catalog(), name)
    check_usable(request, name, model.id)
    if _wants_anthropic(request):
        return json_reply(anthropic_model(name, model))
    return json_reply(openai_model(name, model))


def _asked(request: web.BaseRequest, context: Context) -> tuple[Model, ...]:
    provider_id = request.query.get("provider")
    if provider_id is None:
        return context.catalog().models
    if context.registry.get(provider_id) is None:
        raise select.provider_not_found(provider_id, param="provider")
    return context.catalog().at(provider_id)


def _wants_anthropic(request: web.BaseRequest) -> bool:
    return "anthropic-version" in request.headers


def _page(models: tuple[Model, ...], request: web.BaseRequest) -> dict[str, object]:
    """Cut out the page between `after_id` and `before_id`, as long as `limit`."""
    limit = _limit(request.query.get("limit"))
    after, before = request.query.get("after_id"), request.query.get("before_id")
    ids = [model.id for model in models]
    start = 0 if after is None else _position(ids, after, "after_id") + 1
    stop = len(ids) if before is None else _position(ids, before, "before_id")
    if before is not None and after is None:
        start = max(start, stop - limit)  # a page backwards: the nearest ones
        has_more = start > 0
    else:
        has_more = stop - start > limit
    shown = models[start : max(start, min(stop, start + limit))]
    return {
        "data": [anthropic_model(model.id, model) for model in shown],
        "has_more": has_more,
        "first_id": shown[0].id if shown else None,
        "last_id": shown[-1].id if shown else None,
    }


def _limit(text: str | None) -> int:
    if text is None:
        return _PAGE
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0
    if not 1 <= limit <= _LONGEST_PAGE:
        message = f"`limit` must be a whole number from 1 to {_LONGEST_PAGE}."
        raise CallerFault("invalid_field", message, param="limit")
    return limit


def _position(ids: list[str], id_: str, param: str) -> int:
    try:
        return ids.index(id_)
    except ValueError:
        message = f"`{param}` names no model of this list."
        raise CallerFault("invalid_field", message, param=param) from None
