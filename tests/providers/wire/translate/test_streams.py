"""Readers are fed in any pieces; writers give whole events."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.wire.dialect import Dialect, Framing
from providers.wire.envelopes import Problem
from providers.wire.hold import EventTooLarge
from providers.wire.sse import data_of, split_events
from providers.wire.translate.codecs import CODECS
from providers.wire.translate.events import (
    End,
    Event,
    Failed,
    Start,
    TextDelta,
)
from providers.wire.translate.reply import events_of
from providers.wire.translate.streams import Context, payloads
from tests.providers.wire.translate.corpus import REPLIES

STREAMS = Path(__file__).parents[3] / "streams"
RECORDED = {
    "openai_chat.sse": Dialect.CHAT,
    "openai_chat_tools.sse": Dialect.CHAT,
    "llamacpp_chat.sse": Dialect.CHAT,
    "llamacpp_chat_n2.sse": Dialect.CHAT,
    "llamacpp_chat_tools.sse": Dialect.CHAT,
    "openrouter_chat.sse": Dialect.CHAT,
    "openrouter_chat_error.sse": Dialect.CHAT,
    "vllm_chat_continuous_usage.sse": Dialect.CHAT,
    "vllm_chat_error.sse": Dialect.CHAT,
    "crlf_chat.sse": Dialect.CHAT,
    "cr_chat.sse": Dialect.CHAT,
    "anthropic_messages.sse": Dialect.MESSAGES,
    "anthropic_messages_error.sse": Dialect.MESSAGES,
    "llamacpp_messages.sse": Dialect.MESSAGES,
    "openai_responses.sse": Dialect.RESPONSES,
    "openai_responses_error.sse": Dialect.RESPONSES,
    "openai_responses_failed.sse": Dialect.RESPONSES,
    "openai_responses_incomplete.sse": Dialect.RESPONSES,
    "llamacpp_responses.sse": Dialect.RESPONSES,
    "ollama_chat.ndjson": Dialect.OLLAMA,
    "ollama_chat_error.ndjson": Dialect.OLLAMA,
}
CONTEXT = Context("made", 1_741_570_000, "m")


def read(stream: bytes, dialect: Dialect, size: int | None = None) -> list[Event]:
    reader = CODECS[dialect].stream_reader("made")
    events: list[Event] = []
    step = size or len(stream)
    for at in range(0, len(stream), step):
        events += reader.feed(stream[at : at + step])
    return events + reader.close()


@pytest.mark.parametrize("name", RECORDED)
def test_the_events_are_the_same_however_a_stream_is_cut(name: str) -> None:
    stream = (STREAMS / name).read_bytes()
    dialect = RECORDED[name]
    whole = read(stream, dialect)
    assert isinstance(whole[-1], End | Failed)
    assert isinstance(whole[0], Start | Failed)
    for size in (1, 2, 3, 7, 64):
        assert read(stream, dialect, size) == whole


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_events_are_the_same_at_any_cut(data: st.DataObject) -> None:
    dialect = data.draw(st.sampled_from(list(CODECS)))
    reply = REPLIES[data.draw(st.sampled_from(list(REPLIES)))]
    stream = CODECS[dialect].stream_writer(CONTEXT).write(events_of(reply))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    reader = CODECS[dialect].stream_reader("made")
    events: list[Event] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        events += reader.feed(stream[start:end])
    assert events + reader.close() == read(stream, dialect)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_the_events_of_what_was_recorded_are_the_same_at_any_cut(
    data: st.DataObject,
) -> None:
    name = data.draw(st.sampled_from(list(RECORDED)))
    stream, dialect = (STREAMS / name).read_bytes(), RECORDED[name]
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))
    reader = CODECS[dialect].stream_reader("made")
    events: list[Event] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        events += reader.feed(stream[start:end])
    assert events + reader.close() == read(stream, dialect)


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("dialect", list(CODECS))
def test_each_write_is_whole_events(name: str, dialect: Dialect) -> None:
    events = read((STREAMS / name).read_bytes(), RECORDED[name])
    writer = CODECS[dialect].stream_writer(CONTEXT)
    framing = CODECS[dialect].stream_reader.framing
    end = b"\n" if framing is Framing.NDJSON else b"\n\n"
    pieces = [writer.write([event]) for event in events]
    assert all(piece.endswith(end) for piece in pieces if piece)
    again = CODECS[dialect].stream_writer(CONTEXT)
    assert b"".join(pieces) == again.write(events)


@pytest.mark.parametrize("dialect", list(CODECS))
def test_nothing_is_written_after_the_end(dialect: Dialect) -> None:
    writer = CODECS[dialect].stream_writer(CONTEXT)
    problem = Problem(502, "server_error", "upstream_error", "It broke")
    assert b"It broke" in writer.fail(problem)
    assert writer.fail(problem) == b""
    assert writer.write([TextDelta("more"), End()]) == b""


@pytest.mark.parametrize("dialect", list(CODECS))
def test_what_is_no_json_fails_the_stream(dialect: Dialect) -> None:
    events = read(b"data: {oops\n\n{oops\n", dialect)
    assert [type(event) for event in events] == [Failed]


@pytest.mark.parametrize("dialect", list(CODECS))
def test_an_endless_event_is_refused(dialect: Dialect) -> None:
    reader = CODECS[dialect].stream_reader("made", limit_bytes=100)
    with pytest.raises(EventTooLarge):
        reader.feed(b"data: " + b"x" * 200)


def test_lone_surrogates_are_replaced() -> None:
    stream = b'data: {"choices":[{"delta":{"content":"a\\ud800b"}}]}\n\n'
    assert TextDelta("a\ufffdb") in read(stream, Dialect.CHAT)


def test_a_server_without_terminator_may_just_end() -> None:
    stream = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
    reader = CODECS[Dialect.CHAT].stream_reader("made", terminated=False)
    assert isinstance((reader.feed(stream) + reader.close())[-1], End)


@given(
    st.lists(
        st.sampled_from(
            [b"data: a", b"data:b", b"event: x\ndata: c", b": hi", b"data: d\ndata: e"]
        )
    ),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_the_quick_cut_reads_what_the_careful_one_does(
    events: list[bytes], line_end: bytes
) -> None:
    lines = [event.replace(b"\n", line_end) + 2 * line_end for event in events]
    block = b"".join(lines)
    careful = [data for event in split_events(block) if (data := data_of(event))]
    assert payloads(block) == careful
