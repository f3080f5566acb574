"""Streams of /llm tell their provider in every chunk; nothing else is touched."""

from __future__ import annotations

import pytest

from proxy.pipeline.named_reply import NamedReply
from tests.fakes.reply import KeptReply

SSE = b"content-type: text/event-stream; charset=utf-8\r\n"


def opened(
    block: bytes = SSE, name: str | None = "box"
) -> tuple[NamedReply, KeptReply]:
    inner = KeptReply()
    reply = NamedReply(inner, lambda: name)
    reply.start(200, (), None, block)
    return reply, inner


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (b'data: {"id":1}\n\n', b'data: {"id":1,"provider":"box"}\n\n'),
        (b'data:{"id":1}\r\n\r\n', b'data: {"id":1,"provider":"box"}\r\n\r\n'),
        (b"data: {}\n\n", b'data: {"provider":"box"}\n\n'),
        (b'data: {"provider":"x"}\n\n', b'data: {"provider":"box"}\n\n'),
        (
            b'data: {"t":"\\ndata: {}"}\n\n',
            b'data: {"t":"\\ndata: {}","provider":"box"}\n\n',
        ),
        (b": keep-alive\n\n", b": keep-alive\n\n"),
        (b"data: [DONE]\n\n", b"data: [DONE]\n\n"),
        (b"data: {odd}\n\n", b"data: {odd}\n\n"),
    ],
)
def test_every_chunk_is_named(event: bytes, named: bytes) -> None:
    reply, inner = opened()
    reply.write(event + event)
    assert bytes(inner.body) == named + named


def test_what_is_no_stream_and_what_nobody_has_served_pass() -> None:
    chunk = b'data: {"id":1}\n\n'
    for reply, inner in (
        opened(b"content-type: application/json\r\n"),
        opened(name=None),
    ):
        reply.write(chunk)
        reply.end()
        assert bytes(inner.body) == chunk
        assert reply.ended and reply.status == 200 and not reply.gone


def test_a_stream_that_keep_alives_began_is_one() -> None:
    inner = KeptReply()
    reply = NamedReply(inner, lambda: "box")
    reply.start(200, [("content-type", "text/event-stream")], None)
    reply.write(b'data: {"id":1}\n\n')
    assert b'"provider":"box"' in inner.body
