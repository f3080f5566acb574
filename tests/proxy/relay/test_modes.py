from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.wire.dialect import Dialect, Framing
from providers.wire.holds import hold_for
from providers.wire.watches import watch_for
from proxy.relay.errors import BrokenReply, Phase
from proxy.relay.modes import Events, Gathered, Plain
from tests.fakes.reply import KeptReply

STREAMS = Path(__file__).parents[2] / "streams"
DELTA = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
LINE = b'{"message":{"content":"hi"},"done":false}\n'
LAST_LINE = b'{"message":{"content":""},"done":true}\n'
LIMIT = 1 << 16


@pytest.fixture
def reply() -> KeptReply:
    return started()


def started() -> KeptReply:
    reply = KeptReply()
    reply.start(200, [], None)
    return reply


def events(
    reply: KeptReply,
    dialect: Dialect = Dialect.CHAT,
    framing: Framing = Framing.SSE,
    *,
    withhold_usage: bool = False,
    terminated: bool = True,
    limit: int = LIMIT,
) -> Events:
    watch = watch_for(
        dialect, framing, withhold_usage=withhold_usage, terminated=terminated
    )
    return Events(reply, hold_for(framing, limit), watch)


def unknown(reply: KeptReply, framing: Framing) -> Events:
    """A stream of which only the framing is known: a passed-on path's."""
    dialect = Dialect.GEMINI if framing is Framing.SSE else Dialect.CHAT
    return events(reply, dialect, framing)


# -- gathered -----------------------------------------------------------------------


def test_a_body_is_gathered_until_it_is_whole() -> None:
    mode = Gathered(100, None)
    for piece in (b"a", b"bc", b"d"):
        mode.data(piece)
    mode.end(())
    assert mode.body == b"abcd"
    assert mode.progress == 4


def test_an_empty_body_is_gathered_too() -> None:
    mode = Gathered(100, None)
    mode.end(())
    assert mode.body == b""


def test_half_a_gathered_body_is_never_whole() -> None:
    mode = Gathered(100, None)
    mode.data(b"half")
    assert mode.ends_well_if_lost() is False


def test_past_the_limit_a_body_is_passed_on_in_order(reply: KeptReply) -> None:
    spilled: list[bool] = []

    def onward() -> Plain:
        spilled.append(True)
        return Plain(reply)

    mode = Gathered(4, onward)
    mode.data(b"ab")
    mode.data(b"cd")
    assert not spilled
    assert mode.body is not None
    mode.data(b"e")
    assert bytes(reply.body) == b"abcde"
    assert mode.body is None
    mode.data(b"f")
    mode.end((("x-sum", "1"),))
    assert bytes(reply.body) == b"abcdef"
    assert reply.trailers == [("x-sum", "1")]
    assert spilled == [True]
    assert mode.progress == 6


@given(st.lists(st.binary(max_size=5), max_size=12))
def test_without_a_way_on_what_is_past_the_limit_is_left_out(
    pieces: list[bytes],
) -> None:
    mode = Gathered(7, None)
    for piece in pieces:
        mode.data(piece)
        assert mode._pieces.size <= 7
    mode.end(())
    assert mode.body == b"".join(pieces)[:7]
    assert mode.progress == sum(map(len, pieces))


# -- plain ----------------------------------------------------------------------------


def test_plain_bytes_pass_as_they_come(reply: KeptReply) -> None:
    mode = Plain(reply)
    mode.data(b"a")
    mode.data(b"b\n\nc")
    assert reply.writes == [b"a", b"b\n\nc"]
    assert mode.progress == 5
    assert mode.body is None
    assert mode.ends_well_if_lost() is False
    mode.end((("x-sum", "1"),))
    assert reply.ended
    assert reply.trailers == [("x-sum", "1")]


# -- events -------------------------------------------------------------------------


def test_whole_events_pass_at_once_and_the_tail_is_held(reply: KeptReply) -> None:
    mode = events(reply)
    mode.data(DELTA + DELTA[:20])
    assert reply.writes == [DELTA]
    mode.data(DELTA[20:30])
    assert reply.writes == [DELTA]
    mode.data(DELTA[30:] + DONE)
    assert bytes(reply.body) == DELTA + DELTA + DONE
    mode.end(())
    assert reply.ended


RECORDED = [
    ("llamacpp_chat.sse", Dialect.CHAT),
    ("llamacpp_responses.sse", Dialect.RESPONSES),
    ("llamacpp_messages.sse", Dialect.MESSAGES),
    ("ollama_chat.ndjson", Dialect.OLLAMA),
    ("crlf_chat.sse", Dialect.CHAT),
    ("cr_chat.sse", Dialect.CHAT),
    ("openai_chat_tools.sse", Dialect.CHAT),
]


@pytest.mark.parametrize(("name", "dialect"), RECORDED)
def test_a_recorded_stream_passes_byte_for_byte_however_it_is_cut(
    name: str, dialect: Dialect
) -> None:
    stream = (STREAMS / name).read_bytes()
    framing = Framing.NDJSON if name.endswith("ndjson") else Framing.SSE
    for size in (1, 7, 113, len(stream)):
        reply = started()
        mode = events(reply, dialect, framing)
        for at in range(0, len(stream), size):
            mode.data(stream[at : at + size])
            assert is_boundary(bytes(reply.body), framing)
        mode.end(())
        assert bytes(reply.body) == stream
        assert mode.progress >= len(stream) > 0


def is_boundary(sent: bytes, framing: Framing) -> bool:
    """Whether something of our own may be said here."""
    ends = (b"\n",) if framing is Framing.NDJSON else (b"\n\n", b"\r\n\r\n", b"\r\r")
    return not sent or sent.endswith((*ends, b"\r\n\r"))


def test_the_usage_that_we_asked_for_is_withheld(reply: KeptReply) -> None:
    mode = events(reply, withhold_usage=True)
    ours = b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'
    mode.data(DELTA + ours)
    mode.data(ours[:10])
    mode.data(ours[10:])
    mode.data(DONE)
    mode.end(())
    assert bytes(reply.body) == DELTA + DONE


@pytest.mark.parametrize(
    ("dialect", "framing", "sent"),
    [
        (Dialect.CHAT, Framing.SSE, b""),
        (Dialect.CHAT, Framing.SSE, DELTA),
        (Dialect.CHAT, Framing.SSE, DELTA + b"data: [DO"),
        (Dialect.CHAT, Framing.SSE, DELTA + b"data: [DONE]"),
        (Dialect.CHAT, Framing.SSE, DELTA + b"data: [DONE]\n"),
        (Dialect.CHAT, Framing.SSE, DELTA + b"data: [DONE]\r\n"),
        (Dialect.CHAT, Framing.SSE, DELTA + DELTA[:-8]),
        (Dialect.RESPONSES, Framing.SSE, DELTA),
        (Dialect.MESSAGES, Framing.SSE, DELTA),
        (Dialect.OLLAMA, Framing.NDJSON, LINE),
        (Dialect.OLLAMA, Framing.NDJSON, LINE + LAST_LINE[:-9]),
    ],
)
def test_a_stream_that_ends_without_its_terminator_is_broken(
    reply: KeptReply, dialect: Dialect, framing: Framing, sent: bytes
) -> None:
    mode = events(reply, dialect, framing)
    mode.data(sent)
    with pytest.raises(BrokenReply, match="before it was complete") as caught:
        mode.end(())
    assert caught.value.phase is Phase.IDLE
    assert not reply.ended
    assert is_boundary(bytes(reply.body), framing)


def test_a_stream_that_need_not_terminate_ends_with_its_body(reply: KeptReply) -> None:
    mode = events(reply, terminated=False)
    mode.data(DELTA)
    mode.end(())
    assert reply.ended


@pytest.mark.parametrize(
    ("dialect", "framing", "sent"),
    [
        (Dialect.OLLAMA, Framing.NDJSON, LINE + LAST_LINE[:-1]),
        (Dialect.OLLAMA, Framing.NDJSON, LAST_LINE[:-1]),
    ],
)
def test_the_end_of_the_body_ends_its_last_line(
    reply: KeptReply, dialect: Dialect, framing: Framing, sent: bytes
) -> None:
    """Some servers leave the last line feed out; nothing of it may be lost."""
    mode = events(reply, dialect, framing)
    mode.data(sent)
    mode.end(())
    assert bytes(reply.body) == sent
    assert reply.ended


@pytest.mark.parametrize(
    ("framing", "sent"),
    [
        (Framing.NDJSON, b'{"status":"pulling"}\n{"status":"success"}'),
        (Framing.NDJSON, b"{}"),
        (Framing.SSE, b"data: 1\n\ndata: 2"),
        (Framing.SSE, b"data: 1\n\ndata: 2\n"),
    ],
)
def test_the_last_bytes_of_an_unknown_stream_are_not_lost(
    reply: KeptReply, framing: Framing, sent: bytes
) -> None:
    mode = unknown(reply, framing)
    mode.data(sent)
    mode.end(())
    assert bytes(reply.body) == sent


def test_a_last_event_that_is_ours_is_withheld_all_the_same(reply: KeptReply) -> None:
    mode = events(reply, withhold_usage=True, terminated=False)
    mode.data(DELTA + b'data: {"choices":[],"usage":{"prompt_tokens":1}}')
    mode.end(())
    assert bytes(reply.body) == DELTA
    assert reply.ended


@given(st.sampled_from(RECORDED), st.integers(0, 4000))
def test_a_stream_cut_anywhere_ends_well_or_on_a_boundary(
    which: tuple[str, Dialect], at: int
) -> None:
    name, dialect = which
    framing = Framing.NDJSON if name.endswith("ndjson") else Framing.SSE
    stream = (STREAMS / name).read_bytes()[:at]
    reply = started()
    mode = events(reply, dialect, framing)
    mode.data(stream)
    try:
        mode.end(())
    except BrokenReply:
        assert is_boundary(bytes(reply.body), framing)
        assert not reply.ended
    else:
        assert bytes(reply.body) == stream


def test_a_lost_connection_after_the_terminator_does_no_harm(reply: KeptReply) -> None:
    mode = events(reply)
    mode.data(DELTA)
    assert mode.ends_well_if_lost() is False
    mode.data(DONE)
    assert mode.ends_well_if_lost() is True


@pytest.mark.parametrize("framing", [Framing.SSE, Framing.NDJSON])
def test_a_stream_without_terminator_never_ends_well_if_lost(
    reply: KeptReply, framing: Framing
) -> None:
    """Only HTTP's own end tells that it is whole, and that never came."""
    mode = unknown(reply, framing)
    mode.data(DELTA)
    assert mode.ends_well_if_lost() is False
    mode = events(reply, terminated=False)
    mode.data(DELTA)
    assert mode.ends_well_if_lost() is False


@pytest.mark.parametrize("framing", [Framing.SSE, Framing.NDJSON])
def test_an_event_past_the_limit_breaks_the_stream(
    reply: KeptReply, framing: Framing
) -> None:
    mode = unknown(reply, framing)
    whole = b"data: 1\n\n"
    mode.data(whole)
    for _ in range(LIMIT // 100):
        mode.data(b"x" * 100)
    with pytest.raises(BrokenReply, match=r"larger than stream\.maxEventBytes"):
        mode.data(b"x" * 100)
    assert bytes(reply.body) == whole
