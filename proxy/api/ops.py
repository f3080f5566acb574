"""For operators and their machines: health, readiness, metrics."""

from __future__ import annotations

import ipaddress
from typing import Any

from aiohttp import web

from proxy.api.context import Context
from proxy.api.owner import headers_of
from proxy.api.reload_shape import brief_reload, detailed_reload
from proxy.api.reply import accepts_json, json_reply
from proxy.auth.access import is_direct
from proxy.core import clock
from proxy.core.errors import CallerFault
from proxy.routing.registry import Provider
from proxy.sandbox.sandbox import Sandbox


async def health(request: web.BaseRequest, context: Context) -> web.Response:
    """Say `ok`, or with `?verbose=1` or for who accepts JSON how providers are."""
    is_verbose = request.query.get("verbose", "0") not in ("", "0", "false")
    if not is_verbose and not accepts_json(request):
        return web.Response(text="ok", headers={"cache-control": "no-store"})
    # With authentication on, addresses and errors are for admins (http-api §1).
    is_open = not context.config.auth.enabled
    return json_reply(
        {
            "status": "ok",
            "version": context.version,
            "uptime_seconds": round(clock.wall() - context.started_at),
            "active_requests": context.active(),
            "providers": [_detailed(p, is_open) for p in context.registry.providers],
            "execute": _execute(context.sandbox),
            "shared_state": context.shared_state(),
        }
    )


async def healthz(_request: web.BaseRequest, _context: Context) -> web.Response:
    """Say that the process lives; touches nothing."""
    return json_reply({"status": "ok"})


async def readyz(request: web.BaseRequest, context: Context) -> web.Response:
    """Say whether at least one model can be served, 503 if not."""
    reload = context.last_reload()
    # A problem may quote the file: only this machine is told more than how many.
    shape = detailed_reload if _is_local(request, context) else brief_reload
    is_ready = context.catalog().ready and not context.draining()
    status = "draining" if context.draining() else "not_ready"
    document = {
        "status": "ready" if is_ready else status,
        "providers": [_brief(p) for p in context.registry.providers],
        "database": _database(context, _is_local(request, context)),
        "shared_state": context.shared_state(),
        "last_reload": None if reload is None else shape(reload),
    }
    return json_reply(document, 200 if is_ready else 503)


async def metrics(request: web.BaseRequest, context: Context) -> web.Response:
    """Answer the metrics: to this machine, or to all with `metrics.public`.

    With authentication on, who else may read them has been checked (proxy.api.guard).
    """
    is_open = context.config.metrics.public or context.authenticator is not None
    if not is_open and not _is_local(request, context):
        raise CallerFault(
            "forbidden",
            "Metrics are for this machine, unless `metrics.public` is true.",
        )
    accept = request.headers.get("accept")
    if context.exposition is not None:
        body, content_type = await context.exposition(accept)
    else:
        body, content_type = context.metrics.exposition(accept)
    return web.Response(body=body, headers={"content-type": content_type})


def _database(context: Context, tells_why: bool) -> dict[str, Any] | None:
    """How far records are behind; requests are served whatever it is."""
    if context.records is None:
        return None
    lag = context.records.lag()
    shown = {
        "status": "ok" if lag.problem is None else "away",
        "waiting_records": lag.rows,
        "lag_seconds": round(lag.seconds, 1),
        "lost_records": lag.dropped,
    }
    return shown | {"problem": lag.problem} if tells_why else shown


def _execute(sandbox: Sandbox) -> dict[str, Any]:
    """The engines there are and the walls around them, and what is not there."""
    return {
        "enabled": sandbox.config.enabled,
        "isolation": dict(sandbox.isolation),
        "missing": dict(sandbox.missing),
    }


def _is_local(request: web.BaseRequest, context: Context) -> bool:
    if context.authenticator is not None:  # then pages of any origin may ask
        return context.access.is_owner(headers_of(request), request.remote or "")
    if not is_direct(name.lower() for name in request.headers):
        return False
    try:
        return ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False


def _brief(provider: Provider) -> dict[str, Any]:
    latency_s = provider.latency_s
    return {
        "id": provider.id,
        "status": provider.status,
        "latency_ms": None if latency_s is None else round(latency_s * 1000, 1),
    }


def _detailed(provider: Provider, is_open: bool) -> dict[str, Any]:
    shown = _brief(provider) | {
        "name": provider.config.name,
        "kind": provider.kind,
        "slots": {"active": provider.active, "max": provider.slots},
        "models": len(provider.models),
    }
    if is_open:
        shown["endpoint"] = provider.config.base_url
        shown["last_error"] = provider.last_error
    return shown
