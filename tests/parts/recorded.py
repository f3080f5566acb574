"""Streams recorded from the real model server, for faulty upstreams to play."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import Request, urlopen

ASK: Any = [{"role": "user", "content": "Say something."}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": ASK,
        "max_tokens": 2,
        "stream_options": {"include_usage": True},
    },
    "/v1/messages": {"messages": ASK, "max_tokens": 2},
    "/v1/responses": {"input": "Say something.", "max_output_tokens": 2},
}


def record_stream(base_url: str, path: str) -> bytes:
    """Ask for a short stream at `path` and give its body, chunk frames taken off."""
    body = json.dumps({"model": "tiny", "stream": True, **BODIES[path]}).encode()
    request = Request(base_url + path, body, {"content-type": "application/json"})
    with urlopen(request, timeout=20) as answer:
        stream: bytes = answer.read()
    return stream
