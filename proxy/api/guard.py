"""Who may call a handler while authentication is on; a row's `access` decides.

With it off, rows that not everybody may call check that themselves (proxy.api.owner).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from aiohttp import web

from proxy.api.context import Context
from proxy.api.owner import headers_of
from proxy.auth.permission import (
    ADMIN,
    EXECUTE,
    INFERENCE,
    METRICS_READ,
    check_model,
    check_scope,
    may_use,
)
from proxy.core.types import ANYONE, Principal
from proxy.routing.model import Model

PRINCIPAL: Final = web.RequestKey("principal", Principal)
"""Where a handler finds who calls."""

SCOPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "inference": INFERENCE,
        "execute": EXECUTE,
        "local": METRICS_READ,
        "owner": ADMIN,
    }
)
"""The scope that each kind of access needs; what is public needs none."""


async def check_caller(access: str, request: web.BaseRequest, context: Context) -> None:
    """Let a request through to its handler.

    Raises CallerFault `missing_authorization`, `invalid_api_key`, `expired_api_key`,
    `invalid_token`, `expired_token`, `forbidden`, GatewayFault `upstream_error`.
    """
    request[PRINCIPAL] = ANYONE
    authenticator = context.authenticator
    if authenticator is None or access == "public":
        return
    headers = headers_of(request)
    is_here = context.access.is_owner(headers, request.remote or "")
    if access == "local" and (context.config.metrics.public or is_here):
        return
    principal = await authenticator.authenticate(headers)
    check_scope(principal, SCOPES[access])
    request[PRINCIPAL] = principal


def usable(models: Iterable[Model], request: web.BaseRequest) -> tuple[Model, ...]:
    """Answer the models that the caller's key may use."""
    principal = request.get(PRINCIPAL, ANYONE)
    return tuple(model for model in models if may_use(principal, model.id))


def check_usable(request: web.BaseRequest, *names: str) -> None:
    """Raise CallerFault `model_not_allowed` unless one of a model's names may be used."""
    check_model(request.get(PRINCIPAL, ANYONE), *names)
