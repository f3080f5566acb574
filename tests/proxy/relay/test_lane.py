"""Chunks on their short way, over a connection without a socket."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.wire.dialect import Dialect, Framing
from providers.wire.holds import hold_for
from providers.wire.watches import watch_for
from proxy.core.outbox import SMALL
from proxy.core.types import Pair
from proxy.relay.connection import Connection, State
from proxy.relay.head import HeadReader
from proxy.relay.modes import Events
from tests.fakes.reply import KeptReply
from tests.fakes.sink import KeptSink
from tests.fakes.transport import FakeTransport
from tests.parts.http_text import chunk

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DELTA = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
NO_USAGE = DELTA.replace(b"}\n\n", b',"usage":null}\n\n')
DONE = b"data: [DONE]\n\n"
END = b"0\r\n\r\n"


class Flow(KeptSink):
    """A sink that lets events flow into a reply, as a transfer does."""

    def __init__(self, connection: Connection, mode: Events) -> None:
        super().__init__()
        self._connection = connection
        self._mode = mode

    def on_data(self, data: bytes) -> None:
        self._connection.deliver_to(self._mode.data, self._mode.lane())
        self._mode.data(data)

    def on_end(self, trailers: tuple[Pair, ...], last: bytes = b"") -> None:
        super().on_end(trailers)
        self._mode.end(trailers, last)


@dataclass
class Stream:
    """A chat stream that has begun: its first event has gone the whole way."""

    dialect: Dialect = Dialect.CHAT
    framing: Framing = Framing.SSE
    first: bytes = DELTA
    reply: KeptReply = field(default_factory=KeptReply)

    def __post_init__(self) -> None:
        self.reply.start(200, [], None)
        self.connection = Connection(lambda _: None, lambda _: None, HeadReader())
        self.transport = FakeTransport(self.connection)
        watch = watch_for(
            self.dialect, self.framing, withhold_usage=True, terminated=True
        )
        self.mode = Events(self.reply, hold_for(self.framing, 1 << 16), watch)
        self.sink = Flow(self.connection, self.mode)
        self.connection.send("POST", b"POST / HTTP/1.1\r\n\r\n", self.sink)
        self.transport.feed(HEAD + chunk(self.first))
        self.transport.feed(chunk(self.first))  # the lane sees where it stands
        assert self.reply.body == self.first * 2
        assert self.reply.forwarded == 0


@pytest.fixture
async def stream() -> Stream:
    return Stream()


async def test_a_chunk_that_is_an_event_passes_as_it_came(stream: Stream) -> None:
    for data in (DELTA, NO_USAGE):
        stream.transport.feed(chunk(data))
    assert stream.reply.body == DELTA * 3 + NO_USAGE
    assert stream.reply.forwarded == 2
    assert stream.mode.events == 4
    assert stream.mode.progress == 2 * len(DELTA) + 4


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        (chunk(DELTA)[:-1], DELTA),
        (chunk(DELTA) + chunk(DELTA), DELTA * 2),
        (chunk(DELTA[:-1]), b""),
        (chunk(DELTA + DELTA), DELTA * 2),
        (chunk(b"data: 1\n\n" + DELTA), b"data: 1\n\n" + DELTA),
        (chunk(b"event: x\n" + DELTA), b"event: x\n" + DELTA),
        (chunk(DELTA + DONE), DELTA + DONE),
        (chunk(DONE), DONE),
        (chunk(b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'), b""),
        (chunk(b'data: {"error":{"message":"no"}}\n\n'), None),
        (b"30;odd=1\r\n" + DELTA + b"\r\n", DELTA),
        (b"030\r\n" + DELTA + b"\r\n", DELTA),
        (chunk(DELTA.replace(b"hi", b"x" * SMALL)), None),
    ],
)
async def test_whatever_else_comes_is_looked_at(
    stream: Stream, frame: bytes, shown: bytes | None
) -> None:
    assert len(DELTA) == 0x30
    stream.transport.feed(frame)
    assert stream.reply.forwarded == 0
    if shown is None:
        shown = frame[frame.index(b"\r\n") + 2 : -2]
    assert stream.reply.body == DELTA * 2 + shown


async def test_a_chunk_of_another_size_than_it_says_breaks_the_stream(
    stream: Stream,
) -> None:
    stream.transport.feed(b"2f\r\n" + DELTA + b"\r\n")
    assert stream.sink.failure is not None
    assert stream.reply.forwarded == 0


async def test_nothing_overtakes_what_is_held(stream: Stream) -> None:
    stream.transport.feed(chunk(DELTA[:9]))
    stream.transport.feed(chunk(DELTA[9:]))
    assert stream.reply.forwarded == 0
    assert stream.reply.body == DELTA * 3
    stream.transport.feed(chunk(DELTA))
    assert stream.reply.forwarded == 1


async def test_nothing_overtakes_an_unfinished_chunk(stream: Stream) -> None:
    frame = chunk(DELTA)
    stream.transport.feed(frame + frame[:-7])
    stream.transport.feed(frame[-7:])
    stream.transport.feed(frame)
    assert stream.reply.body == DELTA * 5
    assert stream.reply.forwarded == 1


@pytest.mark.parametrize(
    ("dialect", "framing", "first"),
    [
        (Dialect.MESSAGES, Framing.SSE, b"data: {}\n\n"),
        (Dialect.OLLAMA, Framing.NDJSON, b'{"done":false}\n'),
    ],
)
async def test_other_dialects_are_looked_at(
    dialect: Dialect, framing: Framing, first: bytes
) -> None:
    stream = Stream(dialect, framing, first)
    stream.transport.feed(chunk(DELTA))
    assert stream.reply.forwarded == 0


async def test_the_last_bytes_and_the_end_are_one(stream: Stream) -> None:
    stream.transport.feed(chunk(DELTA))
    before = len(stream.reply.writes)
    stream.transport.feed(chunk(DELTA + DONE) + END)
    assert stream.reply.ended
    assert stream.reply.body == DELTA * 4 + DONE
    assert stream.reply.writes[before:] == [DELTA + DONE]
    assert stream.mode.events == 5


async def test_the_next_reply_has_nothing_of_this_ones(stream: Stream) -> None:
    stream.transport.feed(chunk(DONE) + END)
    assert stream.connection.state is State.IDLE
    sink = KeptSink()
    stream.connection.send("POST", b"POST / HTTP/1.1\r\n\r\n", sink)
    stream.transport.feed(HEAD + chunk(DELTA))
    stream.transport.feed(chunk(DELTA))
    assert sink.body == DELTA * 2
    assert stream.reply.body == DELTA * 2 + DONE
    assert stream.reply.forwarded == 0


@pytest.mark.parametrize("how", ["end", "abort", "lose"])
async def test_nothing_of_a_stream_stays(stream: Stream, how: str) -> None:
    """Not even until the collector looks: to find many at once takes it long."""
    reply = weakref.ref(stream.reply)
    stream.transport.feed(chunk(DELTA))
    match how:
        case "end":
            stream.transport.feed(chunk(DONE) + END)
        case "abort":
            stream.connection.abort()
        case _:
            stream.transport.lose()
    gc.disable()
    try:
        del stream.mode, stream.sink, stream.reply, stream.transport
        assert reply() is None
    finally:
        gc.enable()


async def test_an_aborted_connection_passes_nothing_on(stream: Stream) -> None:
    stream.transport.feed(chunk(DELTA))
    stream.connection.abort()
    assert stream.reply.forwarded == 1
    stream.transport.aborted = False  # a read that was under way
    stream.transport.feed(chunk(DELTA))
    assert stream.reply.forwarded == 1


async def test_a_lost_connection_is_told_of(stream: Stream) -> None:
    stream.transport.feed(chunk(DELTA))
    stream.transport.lose()
    assert stream.sink.failure is not None
    assert stream.connection.transport is None


async def test_the_upstreams_back_pressure_reaches_the_connection(
    stream: Stream,
) -> None:
    stream.transport.block()
    stream.transport.unblock()
    stream.transport.feed(chunk(DELTA))
    assert stream.reply.forwarded == 1


PARTS = [
    DELTA,
    NO_USAGE,
    b": comment\n\n",
    b"data: 1\n\ndata: 2\n\n",
    b"event: x\n" + DELTA,
]


@given(
    payload=st.lists(st.sampled_from(PARTS), min_size=1, max_size=12).map(b"".join),
    sizes=st.lists(st.integers(1, 120), min_size=1, max_size=20),
    reads=st.lists(st.integers(1, 150), min_size=1, max_size=20),
)
async def test_a_stream_passes_whole_however_it_is_framed_and_cut(
    payload: bytes, sizes: list[int], reads: list[int]
) -> None:
    stream, whole = Stream(), payload + DONE
    wire = b"".join(map(chunk, _cut(whole, sizes))) + END
    for piece in _cut(wire, reads):
        stream.transport.feed(piece)
    assert stream.reply.body == DELTA * 2 + whole
    assert stream.reply.ended
    assert stream.mode.events == 2 + whole.count(b"\n\n")


def _cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        pieces.append(data[at : at + size])
        at, turn = at + size, turn + 1
    return pieces
