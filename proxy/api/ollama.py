"""What tools that know only Ollama ask about models, told of all providers' models.

Talk and embeddings walk the pipeline; what changes an Ollama is asked of that one, at
/ollama/….
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from proxy.api.body import json_body
from proxy.api.context import Context
from proxy.api.guard import check_usable, usable
from proxy.api.model_shapes import capabilities, context_window
from proxy.api.reply import json_reply
from proxy.core.errors import CallerFault
from proxy.routing import select
from proxy.routing.model import Model

VERSION: Final = "0.14.2"
"""The Ollama whose API this is; editors refuse one that is older than 0.6.4."""

_EPOCH: Final = "1970-01-01T00:00:00Z"
_FOREVER: Final = "2318-01-01T00:00:00Z"
_BODY_LIMIT: Final = 64 << 10


async def version(_request: web.BaseRequest, _context: Context) -> web.Response:
    return json_reply({"version": VERSION})


async def tags(request: web.BaseRequest, context: Context) -> web.Response:
    models = [_entry(model) for model in usable(context.catalog().models, request)]
    return json_reply({"models": models})


async def running(request: web.BaseRequest, context: Context) -> web.Response:
    """Answer /api/ps: what can answer at once without loading."""
    models = usable(context.catalog().models, request)
    warm = [model for model in models if model.state == "warm"]
    return json_reply({"models": [_running(model) for model in warm]})


async def show(request: web.BaseRequest, context: Context) -> web.Response:
    asked = await json_body(request, context, _BODY_LIMIT)
    name = asked.get("model") or asked.get("name")
    if name is None:
        raise CallerFault("missing_field", "`model` is required.", param="model")
    if not isinstance(name, str):
        raise CallerFault("invalid_field", "`model` must be a string.", param="model")
    model = select.model(context.catalog(), name)
    check_usable(request, name, model.id)
    return json_reply(_shown(model))


async def refuse(request: web.BaseRequest, _context: Context) -> web.Response:
    """Refuse what is for one Ollama and its owner."""
    raise CallerFault(
        "unsupported_operation",
        f"{request.path} changes one Ollama: ask that one, at /ollama{request.path}.",
    )


def _entry(model: Model) -> dict[str, Any]:
    return {
        "name": model.id,
        "model": model.id,
        "modified_at": _modified_at(model),
        "size": 0,
        "digest": hashlib.sha256(model.id.encode()).hexdigest(),
        "details": _details(model),
    }


def _running(model: Model) -> dict[str, Any]:
    entry = _entry(model)
    del entry["modified_at"]
    window = context_window(model)
    told = {} if window is None else {"context_length": window}
    return {**entry, "expires_at": _FOREVER, "size_vram": 0, **told}


def _shown(model: Model) -> dict[str, Any]:
    family = _family(model)
    info: dict[str, Any] = {
        "general.architecture": family,
        "general.basename": model.id,
    }
    if (window := context_window(model)) is not None:
        info[f"{family}.context_length"] = window
    return {
        "modelfile": "",
        "parameters": "",
        "template": "",
        "license": "",
        "details": _details(model),
        "model_info": info,
        "capabilities": _able(model),
        "modified_at": _modified_at(model),
    }


def _able(model: Model) -> list[str]:
    """What editors choose models by. Of tools nobody may have said anything; then the
    provider is the judge.
    """
    if model.kind == "embeddings":
        return ["embedding"]
    can = capabilities(model)
    return [
        "completion",
        *(["tools"] if can["function_calling"] is not False else []),
        *(["vision"] if can["vision"] else []),
        *(["thinking"] if can["reasoning"] else []),
    ]


def _details(model: Model) -> dict[str, Any]:
    family = _family(model)
    return {
        "parent_model": "",
        "format": "",
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": "",
    }


def _family(model: Model) -> str:
    return (model.found.family if model.found else None) or "unknown"


def _modified_at(model: Model) -> str:
    created = (model.found.created if model.found else None) or 0
    try:
        return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return _EPOCH  # a server may claim any number
