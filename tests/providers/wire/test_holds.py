from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.wire.dialect import Framing
from providers.wire.hold import EventTooLarge, Hold
from providers.wire.holds import hold_for
from providers.wire.ndjson import lines
from providers.wire.sse import data_of, name_of, split_events

STREAMS = Path(__file__).parents[2] / "streams"
SSE_FILES = sorted(STREAMS.glob("*.sse"))
LIMIT = 1 << 20


def hold(framing: Framing = Framing.SSE, limit: int = LIMIT) -> Hold:
    return hold_for(framing, limit)


def spoken(stream: bytes) -> list[bytes]:
    """The data of each event, read one character at a time after the standard."""
    normal = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[bytes] = []
    data: list[bytes] = []
    *whole_lines, _unfinished = normal.split(b"\n")
    for line in whole_lines:
        if not line and data:
            events.append(b"\n".join(data))
            data = []
        if line.startswith(b"data:"):
            value = line[5:]
            data.append(value[1:] if value[:1] == b" " else value)
        elif line == b"data":
            data.append(b"")
    return events


@pytest.mark.parametrize("path", SSE_FILES, ids=lambda path: path.stem)
def test_two_pieces_say_what_the_whole_says(path: Path) -> None:
    stream = path.read_bytes()
    expected = spoken(stream)
    for at in range(len(stream) + 1):
        holder = hold()
        blocks = [holder.feed(stream[:at]), holder.feed(stream[at:])]
        assert b"".join(blocks) == stream
        assert [data for block in blocks for data in spoken(block)] == expected
        assert holder.tail_size == 0


@pytest.mark.parametrize("path", SSE_FILES, ids=lambda path: path.stem)
def test_single_bytes_say_what_the_whole_says(path: Path) -> None:
    stream = path.read_bytes()
    holder = hold()
    blocks = [holder.feed(stream[at : at + 1]) for at in range(len(stream))]
    assert b"".join(blocks) == stream
    assert [data for block in blocks for data in spoken(block)] == spoken(stream)


@pytest.mark.parametrize("path", SSE_FILES, ids=lambda path: path.stem)
def test_split_events_join_to_the_block(path: Path) -> None:
    stream = path.read_bytes()
    events = split_events(stream)
    assert b"".join(events) == stream
    assert [data for event in events if (data := data_of(event))] == spoken(stream)


LINE = st.sampled_from([b"", b"data: a", b"data", b"data:b", b": note", b"event: x"])
END = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(LINE, END), max_size=12), st.data())
def test_any_lines_in_any_pieces(
    rows: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(line + end for line, end in rows)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    holder = hold()
    blocks = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        blocks.append(holder.feed(stream[start:stop]))
    answered = b"".join(blocks)
    assert stream.startswith(answered)
    assert holder.tail_size == len(stream) - len(answered)
    assert [text for block in blocks for text in spoken(block)] == spoken(stream)
    events = split_events(answered)
    assert b"".join(events) == answered
    assert [text for event in events for text in spoken(event)] == spoken(stream)


def test_whole_events_pass_without_a_copy() -> None:
    piece = b"data: a\n\ndata: b\n\n"
    assert hold().feed(piece) is piece


def test_an_empty_piece_changes_nothing() -> None:
    holder = hold()
    assert holder.feed(b"") == b""
    holder.feed(b"data: a")
    assert holder.feed(b"") == b""
    assert holder.tail_size == 7


def test_a_carriage_return_does_not_delay_its_event() -> None:
    holder = hold()
    assert holder.feed(b"data: a\r\n\r") == b"data: a\r\n\r"
    assert holder.feed(b"\n") == b"\n"
    assert holder.tail_size == 0


def test_one_line_end_over_two_pieces_is_no_boundary() -> None:
    holder = hold()
    assert holder.feed(b"data: a\r") == b""
    assert holder.feed(b"\ndata: b") == b""
    assert holder.tail_size == len(b"data: a\r\ndata: b")


@pytest.mark.parametrize("framing", [Framing.SSE, Framing.NDJSON])
def test_an_unfinished_event_may_reach_the_limit_and_not_pass_it(
    framing: Framing,
) -> None:
    holder = hold(framing, 8)
    assert holder.feed(b"12345678") == b""
    with pytest.raises(EventTooLarge, match="8 bytes"):
        holder.feed(b"9")


def test_events_before_an_oversized_one_are_delivered_first() -> None:
    holder = hold(limit=8)
    assert holder.feed(b"data: a\n\ndata: bbbbb") == b"data: a\n\n"
    with pytest.raises(EventTooLarge):
        holder.feed(b"b")


def test_a_large_event_arrives_whole() -> None:
    body = b"data: " + b"x" * 300_000 + b"\n\n"
    holder = hold()
    pieces = [holder.feed(body[at : at + 4096]) for at in range(0, len(body), 4096)]
    assert pieces[:-1] == [b""] * (len(pieces) - 1)
    assert pieces[-1] == body


@given(st.binary(max_size=60).map(lambda b: b.replace(b"\x00", b"\n")), st.data())
def test_lines_in_any_pieces(stream: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(stream)))
    holder = hold(Framing.NDJSON)
    blocks = [holder.feed(stream[:at]), holder.feed(stream[at:])]
    answered = b"".join(blocks)
    assert answered == stream[: stream.rfind(b"\n") + 1]
    assert all(block == b"" or block.endswith(b"\n") for block in blocks)
    assert [line for block in blocks for line in lines(block)] == lines(answered)


def test_plain_bytes_pass_untouched() -> None:
    holder = hold(Framing.PLAIN, 1)
    assert holder.feed(b"anything at all") == b"anything at all"
    assert holder.tail_size == 0


def test_an_event_is_read_after_the_standard() -> None:
    event = (
        b"\xef\xbb\xbfevent: first\nevent:second\n: note\ndata:  a\ndata\ndata:b\n\n"
    )
    assert name_of(event) == b"second"
    assert data_of(event) == b" a\n\nb"
    assert name_of(b": note\n\n") == data_of(b": note\n\n") == b""
