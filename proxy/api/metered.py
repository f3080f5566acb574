"""Handlers that are limited and recorded as calls of models are."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

from aiohttp import web

from providers.wire.dialect import Dialect
from proxy.api.context import Context
from proxy.api.guard import PRINCIPAL
from proxy.api.owner import Handler, headers_of
from proxy.core import clock
from proxy.core.errors import GatewayError
from proxy.core.types import ANYONE, Record
from proxy.limits.rate import LimitReached
from proxy.pipeline.metering import Metering
from proxy.server.ordinary import ID, client_id
from proxy.server.refusal import refusal

_GONE, _BROKEN = 499, 500


def metered(operation: str, handler: Handler) -> Handler:
    """Hold a handler's callers to their limits, and record each request."""

    async def counted(request: web.BaseRequest, context: Context) -> web.Response:
        metering = context.metering
        if metering is None:
            return await handler(request, context)
        record = _begun(operation, request)
        record.status, record.code = _BROKEN, "internal_error"
        try:
            response = await _limited(handler, request, context, metering, record)
            record.status = response.status
            body = response.body
            record.bytes_out = len(body) if isinstance(body, bytes) else 0
            return response
        except GatewayError as error:
            record.status, record.code = error.status, error.code
            raise
        except asyncio.CancelledError:
            record.status, record.code = _GONE, "client_closed_request"
            raise
        finally:
            record.bytes_in = request.content.total_bytes
            record.ended_at = clock.monotonic()
            metering.report(record)

    return counted


async def _limited(
    handler: Handler,
    request: web.BaseRequest,
    context: Context,
    metering: Metering,
    record: Record,
) -> web.Response:
    principal = request.get(PRINCIPAL, ANYONE)
    try:
        reserved = await metering.reserve(principal, record.peer)
    except LimitReached as error:
        record.code = error.code
        shown = record.client_request_id or record.id
        return _with_lines(refusal(error, Dialect.CHAT, shown), error.lines)
    lines = "" if reserved is None else reserved.lines()
    with reserved or nullcontext():
        response = await handler(request, context)
    record.code = None
    return _with_lines(response, lines)


def _begun(operation: str, request: web.BaseRequest) -> Record:
    headers = headers_of(request)
    record = Record(
        request.get(ID, ""),
        operation,
        clock.monotonic(),
        client_id(headers),
        request.method,
        request.path,
        request.remote or "",
    )
    principal = request.get(PRINCIPAL, ANYONE)
    record.tenant, record.key = principal.tenant, principal.key
    record.user_agent = headers.get("user-agent")
    record.trace_parent = headers.get("traceparent")
    return record


def _with_lines(response: web.Response, lines: str) -> web.Response:
    """Add fields that are written as lines of a head."""
    for line in lines.splitlines():
        name, _, value = line.partition(": ")
        response.headers[name] = value
    return response
