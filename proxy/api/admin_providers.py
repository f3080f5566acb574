"""GET /admin/providers, and what the owner can do to one: enable, disable, drain, probe.

Holding a provider stops new requests at once and leaves running ones alone.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from providers.base import FoundModel
from proxy.api.context import Context
from proxy.api.reply import json_reply
from proxy.routing import select
from proxy.routing.registry import Provider, Status
from proxy.server.ordinary import PARAMS

_PROBE_S: Final = 30.0


async def list_providers(_request: web.BaseRequest, context: Context) -> web.Response:
    rows = [detailed_provider(p) for p in context.registry.providers]
    return json_reply({"providers": rows})


async def enable(request: web.BaseRequest, context: Context) -> web.Response:
    """Give it back to its health, which is asked for at once."""
    provider = _named(request, context)
    context.registry.hold(provider, None)
    context.check(provider)
    return json_reply(detailed_provider(provider))


async def disable(request: web.BaseRequest, context: Context) -> web.Response:
    """Send it nothing more, probes included."""
    return _held(request, context, Status.DISABLED)


async def drain(request: web.BaseRequest, context: Context) -> web.Response:
    """Send it no further request; it is still looked at."""
    return _held(request, context, Status.DRAINING)


async def probe(request: web.BaseRequest, context: Context) -> web.Response:
    """Look at it now and answer what was seen."""
    provider = _named(request, context)
    await asyncio.wait({context.check(provider)}, timeout=_PROBE_S)
    return json_reply(detailed_provider(provider))


def detailed_provider(provider: Provider) -> dict[str, Any]:
    latency_s, config = provider.latency_s, provider.config
    return {
        "id": provider.id,
        "name": config.name,
        "kind": provider.kind,
        "type": config.type,
        "endpoint": config.base_url,
        "priority": config.priority,
        "discovered": config.discovered,
        "status": provider.status,
        "health": provider.health,
        "latency_ms": None if latency_s is None else round(latency_s * 1000, 1),
        "last_error": provider.last_error,
        "slots": {"active": provider.active, "max": provider.slots},
        "models": [_model(model) for model in provider.models],
    }


def _model(model: FoundModel) -> dict[str, Any]:
    """`loaded` is None where the provider does not say."""
    return {
        "id": model.id,
        "loaded": model.warm,
        "context_window": model.context_window,
    }


def _held(request: web.BaseRequest, context: Context, held: Status) -> web.Response:
    provider = _named(request, context)
    context.registry.hold(provider, held)
    return json_reply(detailed_provider(provider))


def _named(request: web.BaseRequest, context: Context) -> Provider:
    id_ = request[PARAMS]["id"]
    provider = context.registry.get(id_)
    if provider is None:
        raise select.provider_not_found(id_)
    return provider
