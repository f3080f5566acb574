"""What raw upstreams play, and the small bodies that tests of replies are made of."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.parts.faulty import Peer, Script
from tests.parts.http_text import LAST_CHUNK, Message, chunk, event_stream_head

BODY = b'{"model":"tiny","messages":[]}'
STREAM = b'{"model":"tiny","messages":[],"stream":true}'
EVENT = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
USAGE = (
    b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,'
    b'"prompt_tokens_details":{"cached_tokens":2}}}\n\n'
)
DONE = b"data: [DONE]\n\n"
REFUSAL = (
    b'{ "error": {"message":"too long","type":"odd_type","code":"context_length",'
    b'"param":"messages[0]", "extra":1}}'
)


def answers(*replies: bytes) -> Script:
    """Send these bytes, the first for the first request, and so on; the last again
    and again."""
    waiting = list(replies)

    async def answer(peer: Peer, request: Message) -> None:
        await peer.send(waiting.pop(0) if len(waiting) > 1 else waiting[0])

    return answer


def then_close(data: bytes) -> Script:
    async def play(peer: Peer, request: Message) -> None:
        await peer.send(data)
        peer.close()

    return play


def then_wait(data: bytes) -> Script:
    """Send this, and nothing more until the other end has gone."""

    async def play(peer: Peer, request: Message) -> None:
        await peer.send(data)
        await peer.wait(asyncio.Event())

    return play


def stream(*pieces: bytes, end: bytes = LAST_CHUNK) -> bytes:
    """A streamed reply, each piece a chunk."""
    return event_stream_head() + b"".join(map(chunk, pieces)) + end


def error_of(reply: Message) -> Any:
    return json.loads(reply.body)["error"]


def ask(method: str, target: str, *fields: str, body: bytes = b"") -> bytes:
    """Write any request, to 127.0.0.1 unless a field says otherwise."""
    length = (f"content-length: {len(body)}",) if body else ()
    named = any(field.startswith("host:") for field in fields)
    host = () if named else ("host: 127.0.0.1",)
    lines = (f"{method} {target} HTTP/1.1", *host, *fields, *length, "", "")
    return "\r\n".join(lines).encode("latin-1") + body
