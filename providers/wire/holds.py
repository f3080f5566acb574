"""Which hold belongs to which framing."""

from __future__ import annotations

from providers.wire.dialect import Framing
from providers.wire.hold import Hold, PassHold
from providers.wire.ndjson import NDJSONHold
from providers.wire.sse import SSEHold


def hold_for(framing: Framing, limit_bytes: int) -> Hold:
    """Make a fresh hold; `limit_bytes` bounds one unfinished event."""
    if framing is Framing.SSE:
        return SSEHold(limit_bytes)
    if framing is Framing.NDJSON:
        return NDJSONHold(limit_bytes)
    return PassHold()
