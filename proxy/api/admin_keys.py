"""/admin/keys: make keys, list, change, rotate and revoke them (http-api §7).

A secret is in the answer that made it, and can be read nowhere again.
"""

from __future__ import annotations

from aiohttp import web

from proxy.api.body import json_body
from proxy.api.context import Context
from proxy.api.reply import json_reply
from proxy.auth.key_admin import KeyAdmin
from proxy.core.errors import GatewayFault
from proxy.server.ordinary import PARAMS


async def list_keys(_request: web.BaseRequest, context: Context) -> web.Response:
    """Answer all keys, revoked ones too, the oldest first."""
    return json_reply({"keys": await _keys(context).list()})


async def create_key(request: web.BaseRequest, context: Context) -> web.Response:
    """Make a key; 201 with its secret."""
    keys = _keys(context)
    return json_reply(await keys.create(await json_body(request, context)), 201)


async def change_key(request: web.BaseRequest, context: Context) -> web.Response:
    """Change what its owner decides about a key."""
    keys = _keys(context)
    given = await json_body(request, context)
    return json_reply(await keys.change(_id(request), given))


async def revoke_key(request: web.BaseRequest, context: Context) -> web.Response:
    """End a key for good."""
    return json_reply(await _keys(context).revoke(_id(request)))


async def rotate_key(request: web.BaseRequest, context: Context) -> web.Response:
    """Give a key a new secret; without a body the one before stays good for a day."""
    keys = _keys(context)
    given = await json_body(request, context) if request.body_exists else None
    return json_reply(await keys.rotate(_id(request), given))


def _id(request: web.BaseRequest) -> str:
    return request[PARAMS]["id"]


def _keys(context: Context) -> KeyAdmin:
    if context.keys is None:
        raise GatewayFault(
            "not_configured",
            "No keys are asked for: set auth.enabled. `python -m proxy keys` makes some "
            "beforehand.",
        )
    return context.keys
