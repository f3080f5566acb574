"""GET /admin/providers, and what the owner can do to one: enable, disable, drain, probe.

Holding a provider stops new requests at once and leaves running ones alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from providers.base import FoundModel
from proxy.api.context import Context
from proxy.api.reply import json_reply
from proxy.routing import select
from proxy.routing.breaker import Circuit
from proxy.routing.dispatch import Hindrance
from proxy.routing.registry import Provider, Status
from proxy.server.ordinary import PARAMS

_PROBE_S: Final = 30.0


async def list_providers(_request: web.BaseRequest, context: Context) -> web.Response:
    others = await context.busy_elsewhere()
    rows = [_shown(p, context, others) for p in context.registry.providers]
    return json_reply({"providers": rows})


async def enable(request: web.BaseRequest, context: Context) -> web.Response:
    """Give it back to its health, which is asked for at once."""
    provider = _named(request, context)
    context.registry.hold(provider, None)
    context.check(provider)
    others = await context.tell_others("hold", provider.id, None)
    return _done(provider, context, others)


async def disable(request: web.BaseRequest, context: Context) -> web.Response:
    """Send it nothing more, probes included."""
    return await _held(request, context, Status.DISABLED)


async def drain(request: web.BaseRequest, context: Context) -> web.Response:
    """Send it no further request; it is still looked at."""
    return await _held(request, context, Status.DRAINING)


async def probe(request: web.BaseRequest, context: Context) -> web.Response:
    """Look at it now and answer what was seen."""
    provider = _named(request, context)
    others = await context.tell_others("check", provider.id)
    await asyncio.wait({context.check(provider)}, timeout=_PROBE_S)
    return _done(provider, context, others)


def _shown(
    provider: Provider, context: Context, others: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """`others`: how busy other workers keep providers, by provider."""
    active, length, oldest_s = _busy(provider, context)
    for there in others:
        more, longer, older_s = there.get(provider.id, (0, 0, 0.0))
        active, length, oldest_s = (
            active + more,
            length + longer,
            max(oldest_s, older_s),
        )
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
        "slots": {"active": active, "max": provider.slots},
        "queue": {"length": length, "oldest_seconds": round(oldest_s, 1)},
        **_left_alone(provider, context),
        "models": [_model(model) for model in provider.models],
    }


def _busy(provider: Provider, context: Context) -> tuple[int, int, float]:
    """How many it serves, and who waits for it, perhaps for others too."""
    presence = context.dispatch.queue.presence(provider.id)
    return provider.active, presence.length, presence.oldest_s


def _left_alone(provider: Provider, context: Context) -> dict[str, Any]:
    """Its breaker, those of its models that are not closed, and who rests.

    Without seconds a request is about to show whether it is well again.
    """
    found = context.dispatch.hindrances(context.catalog())
    own = [one for one in found if one.where.provider == provider.id]
    broken = [one for one in own if one.circuit is not Circuit.CLOSED]
    whole = next((one for one in broken if one.where.model is None), None)
    return {
        "breaker": {
            "state": Circuit.CLOSED if whole is None else whole.circuit,
            "seconds": None if whole is None else _seconds(whole),
            "models": [
                {
                    "id": one.where.model,
                    "state": one.circuit,
                    "seconds": _seconds(one),
                }
                for one in broken
                if one is not whole
            ],
        },
        "cooldowns": [
            {"model": one.where.model, "seconds": _seconds(one)}
            for one in own
            if one.circuit is Circuit.CLOSED
        ],
    }


def _seconds(hindrance: Hindrance) -> float | None:
    return round(hindrance.remaining_s, 1) or None


def _model(model: FoundModel) -> dict[str, Any]:
    """`loaded` is None where the provider does not say."""
    return {
        "id": model.id,
        "loaded": model.warm,
        "context_window": model.context_window,
    }


async def _held(
    request: web.BaseRequest, context: Context, held: Status
) -> web.Response:
    provider = _named(request, context)
    context.registry.hold(provider, held)
    others = await context.tell_others("hold", provider.id, held)
    return _done(provider, context, others)


def _done(
    provider: Provider, context: Context, others: list[dict[str, Any]]
) -> web.Response:
    """Show it, and which of the other workers, if any, did the same."""
    shown = _shown(provider, context)
    return json_reply(shown | {"workers": others} if others else shown)


def _named(request: web.BaseRequest, context: Context) -> Provider:
    id_ = request[PARAMS]["id"]
    provider = context.registry.get(id_)
    if provider is None:
        raise select.provider_not_found(id_)
    return provider
