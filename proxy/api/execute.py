"""POST /execute: run Python that nobody trusts, and answer what it made."""

from __future__ import annotations

from typing import Any, Final

import orjson
from aiohttp import web

from proxy.api.body import json_body
from proxy.api.context import Context
from proxy.api.guard import PRINCIPAL
from proxy.api.owner import headers_of
from proxy.api.reply import json_reply
from proxy.core.errors import CallerFault, GatewayFault
from proxy.core.types import ANYONE
from proxy.sandbox.limits import Limits
from proxy.sandbox.run import ENGINES, EngineName, Outcome, Run

_AUTO: Final = "auto"


async def execute(request: web.BaseRequest, context: Context) -> web.Response:
    """Raises what the sandbox raises, and CallerFault `forbidden`, `invalid_field`, …"""
    sandbox = context.sandbox
    if not sandbox.config.enabled:
        raise GatewayFault(
            "not_configured", "Code is not run here: `execute.enabled` is false."
        )
    _check_caller(request, context)
    document = await json_body(request, context, sandbox.limits.input_bytes)
    run = read_run(document, sandbox.limits)
    # The body's length would tell of what was sent, not of what is kept.
    size = len(run.code) + len(orjson.dumps(run.input))
    principal = request.get(PRINCIPAL, ANYONE)
    holder = principal.key or principal.user or principal.tenant
    return json_reply(_shape(await sandbox.run(run, size, holder)))


def read_run(document: dict[str, Any], limits: Limits) -> Run:
    """Read a request's body. Raises CallerFault `missing_field`, `invalid_field`."""
    if "code" not in document:
        raise CallerFault("missing_field", "`code` is missing.", param="code")
    code, given = document["code"], document.get("input")
    if not isinstance(code, str):
        raise _invalid("code", "a string of Python")
    if given is not None and not isinstance(given, dict):
        raise _invalid("input", "an object: each parameter's name and value")
    return Run(
        code,
        given or {},
        _timeout_s(document.get("timeout_s"), limits),
        _engine(document.get("engine")),
    )


def _timeout_s(value: Any, limits: Limits) -> float:
    if value is None:
        return limits.timeout_s
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= limits.most_timeout_s:
        expected = f"a number of seconds above 0, at most {limits.most_timeout_s:g}"
        raise _invalid("timeout_s", expected)
    return float(value)


def _engine(value: Any) -> EngineName | None:
    if value is None or value == _AUTO:
        return None
    for name in ENGINES:
        if value == name:
            return name
    raise _invalid("engine", f"one of {_AUTO}, {', '.join(ENGINES)}")


def _invalid(field: str, expected: str) -> CallerFault:
    return CallerFault("invalid_field", f"`{field}` must be {expected}.", param=field)


def _check_caller(request: web.BaseRequest, context: Context) -> None:
    """Without authentication, code is for this machine's own callers."""
    if context.authenticator is not None:
        return
    if not context.access.is_owner(headers_of(request), request.remote or ""):
        raise CallerFault(
            "forbidden",
            "Code is run for the gateway's own machine alone: call it there, by a "
            "loopback address and through no proxy.",
        )


def _shape(outcome: Outcome) -> dict[str, Any]:
    return {
        "result": orjson.Fragment(outcome.result),
        "result_type": outcome.result_type,
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
        "duration_ms": outcome.duration_ms,
        "engine": outcome.engine,
        "isolation": outcome.isolation,
        "truncated": outcome.truncated,
    }
