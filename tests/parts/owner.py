"""What the owner does: admin routes with the local token."""

from __future__ import annotations

import json
from typing import Any

from tests.parts.http_text import Message
from tests.parts.inside import TOKEN, Site
from tests.parts.scripts import ask

OWNERS = f"authorization: Bearer {TOKEN}"


async def steer(site: Site, method: str, path: str, body: bytes = b"") -> Message:
    """Ask for what is below /admin."""
    return await site.ask(ask(method, f"/admin{path}", OWNERS, body=body))


async def told(site: Site, method: str, path: str, body: bytes = b"") -> Any:
    """As `steer`; answers the document of a request that went well."""
    reply = await steer(site, method, path, body)
    assert reply.status == 200, reply
    return json.loads(reply.body)
