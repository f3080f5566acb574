"""GET /admin/config and POST /admin/reload: what is in force, and taking it anew."""

from __future__ import annotations

from aiohttp import web

from proxy.api.context import Context
from proxy.api.reload_shape import detailed_reload
from proxy.api.reply import json_reply
from proxy.config import masked
from proxy.config.sources import sources_of
from proxy.core.errors import CATALOGUE


async def show_config(_request: web.BaseRequest, context: Context) -> web.Response:
    """Answer the configuration in force, secrets masked, and where values came from."""
    loaded = context.loaded
    return json_reply(
        {
            "file": None if loaded.file is None else str(loaded.file),
            "config": masked(loaded.config),
            "sources": sources_of(loaded),
            "warnings": [str(problem) for problem in loaded.warnings],
        }
    )


async def reload(_request: web.BaseRequest, context: Context) -> web.Response:
    """Reload; 400 `invalid_config` with every problem when it changes nothing."""
    outcome = await context.reload("POST /admin/reload")
    shown = detailed_reload(outcome)
    if others := await context.tell_others("reload", "POST /admin/reload"):
        shown["workers"] = others
    if outcome.ok:
        return json_reply(shown)
    entry, count = CATALOGUE["invalid_config"], len(outcome.problems)
    error = {
        "message": f"Nothing has changed: {count} problem{'s' * (count != 1)}.",
        "type": entry.type,
        "code": entry.code,
        "param": None,
    }
    return json_reply({"error": error, **shown}, entry.http_status)
