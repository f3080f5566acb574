"""What is told to a caller for whom there is no call: errors, rendered whole."""

from __future__ import annotations

import math

from aiohttp import web

from providers.wire.dialect import Dialect
from providers.wire.envelopes import Problem, render
from proxy.core.errors import GatewayError
from proxy.core.types import Pair
from proxy.pipeline.heads import challenge


def refusal(error: GatewayError, dialect: Dialect, shown_id: str) -> web.Response:
    """Render an error of the catalogue; `shown_id` is the request's."""
    message = error.message
    if error.status >= 500:
        message = f"{message} (request id {shown_id})"
    problem = Problem(
        error.status, error.shown_type, error.shown_code, message, error.param, shown_id
    )
    response = web.Response(
        status=error.status,
        body=render(problem, dialect),
        content_type="application/json",
        headers=ids(shown_id, dialect),
    )
    response.headers.extend(challenge(error))
    if error.retry_after_s is not None:
        response.headers["retry-after"] = str(math.ceil(error.retry_after_s))
    return response


def ids(shown_id: str, dialect: Dialect = Dialect.CHAT) -> list[Pair]:
    """The fields by which a request is known to its caller, and we to it."""
    # Without a name here aiohttp tells its own, and both versions.
    pairs = [("server", "local-ai"), ("x-request-id", shown_id)]
    if dialect is Dialect.MESSAGES:
        pairs.append(("request-id", shown_id))
    return pairs
