"""GET /v1/info: models and providers with all that is known of them."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from providers.base import OPERATIONS
from proxy.api.context import Context
from proxy.api.guard import usable
from proxy.api.model_shapes import detailed_model
from proxy.api.reply import json_reply
from proxy.routing.catalog import AUTO, Catalog
from proxy.routing.registry import Provider


async def info(request: web.BaseRequest, context: Context) -> web.Response:
    catalog = context.catalog()
    default = _default_id(catalog)
    return json_reply(
        {
            "name": "local-ai",
            "version": context.version,
            "models": [
                detailed_model(model, model.id == default)
                for model in usable(catalog.models, request)
            ],
            "providers": [_provider(p) for p in context.registry.providers],
        }
    )


def _default_id(catalog: Catalog) -> str | None:
    """The model that `auto` means now."""
    chosen = catalog.resolve(AUTO, OPERATIONS["chat"]).candidates
    for model in catalog.models:
        if chosen and chosen[0] in model.live:
            return model.id
    return None


def _provider(provider: Provider) -> dict[str, Any]:
    return {
        "id": provider.id,
        "name": provider.config.name,
        "kind": provider.kind,
        "type": provider.config.type,
        "status": provider.status,
        "slots": {"active": provider.active, "max": provider.slots},
        "models": len(provider.models),
        "gpu": provider.config.gpu,
        "location": provider.config.location,
    }
