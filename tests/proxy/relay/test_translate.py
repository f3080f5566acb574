from __future__ import annotations

from pathlib import Path

import pytest

from providers.wire.dialect import Dialect
from providers.wire.envelopes import Problem
from providers.wire.translate.codecs import CODECS
from providers.wire.translate.events import ToolCallStart
from providers.wire.translate.streams import Context
from proxy.relay.errors import BrokenReply
from proxy.relay.translate import Translated
from tests.fakes.reply import KeptReply

STREAMS = Path(__file__).parents[2] / "streams"
RECORDED = (STREAMS / "openai_chat_tools.sse").read_bytes()
DELTA = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
ERROR = b'data: {"error":{"message":"no more"}}\n\n'


def translated(
    source: Dialect = Dialect.CHAT, limit: int = 1 << 16
) -> tuple[KeptReply, Translated, list[ToolCallStart]]:
    reply, calls = KeptReply(), list[ToolCallStart]()
    reply.start(200, [], None)
    mode = Translated(
        reply,
        CODECS[source].stream_reader("m", limit_bytes=limit),
        CODECS[Dialect.MESSAGES].stream_writer(Context("x", 1, "tiny")),
        calls.append,
        lambda writer: None,
    )
    return reply, mode, calls


def test_a_stream_comes_out_the_same_however_it_is_cut() -> None:
    reply, mode, _ = translated()
    mode.whole(RECORDED)
    for cut in range(1, len(RECORDED), 97):
        again, other, _ = translated()
        other.data(RECORDED[:cut])
        other.data(RECORDED[cut:])
        other.end(())
        assert again.body == reply.body
        assert other.usage == mode.usage
    assert reply.ended
    assert mode.usage is not None
    assert mode.progress == len(RECORDED)
    assert reply.body.endswith(b'data: {"type":"message_stop"}\n\n')


def test_only_whole_events_are_written() -> None:
    reply, mode, _ = translated()
    mode.data(DELTA[:-1])
    assert not reply.writes
    mode.data(DELTA[-1:])
    assert reply.writes[-1].endswith(b"\n\n")
    assert not mode.ends_well_if_lost()


def test_an_end_without_the_terminator_is_a_break() -> None:
    reply, mode, _ = translated()
    mode.data(DELTA)
    with pytest.raises(BrokenReply):
        mode.end(())
    assert not reply.ended
    last = mode.last_words(Problem(502, "server_error", "broken", "it broke"))
    assert last.startswith(b"event: error\n")
    assert mode.last_words(Problem(502, "server_error", "broken", "again")) == b""


def test_the_providers_own_error_ends_the_stream() -> None:
    reply, mode, _ = translated()
    mode.data(DELTA + ERROR + DELTA)
    assert mode.error == "no more"
    assert mode.ends_well_if_lost()
    mode.end(())
    assert reply.ended
    assert b"message_stop" not in reply.body
    assert reply.body.count(b"text_delta") == 1


def test_an_event_too_large_is_a_break() -> None:
    _, mode, _ = translated(limit=64)
    with pytest.raises(BrokenReply, match="maxEventBytes"):
        mode.data(b"data: " + b"x" * 200)


def test_calls_with_a_signature_are_told_of() -> None:
    _, mode, calls = translated(Dialect.GEMINI)
    mode.data(
        b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"id":"f",'
        b'"name":"look","args":{}},"thoughtSignature":"s"}]}}]}\n\n'
    )
    assert [(call.id, call.signature) for call in calls] == [("f", "s")]
