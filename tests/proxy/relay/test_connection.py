"""One connection over a transport without a socket."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from proxy.relay.connection import Connection, State
from proxy.relay.errors import BrokenReply, Phase, StaleConnection, UpstreamFailed
from proxy.relay.head import HEAD_LIMIT, HeadReader
from tests.fakes.sink import KeptSink
from tests.fakes.transport import FakeTransport
from tests.proxy.relay.rig import settle

ASK = b"POST / HTTP/1.1\r\n\r\n"
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = b"HTTP/1.0 200 OK\r\n\r\n"


@dataclass
class Line:
    """A connection, its transport, and what it told its pool."""

    connection: Connection = field(init=False)
    transport: FakeTransport = field(init=False)
    freed: int = 0
    lost: int = 0

    def __post_init__(self) -> None:
        self.connection = Connection(self._freed, self._lost, HeadReader())
        self.transport = FakeTransport(self.connection)

    def ask(self, method: str = "POST", *, more: bool = False) -> KeptSink:
        sink = KeptSink()
        self.connection.send(method, ASK, sink, more=more)
        return sink

    def _freed(self, _: Connection) -> None:
        self.freed += 1

    def _lost(self, _: Connection) -> None:
        self.lost += 1


@pytest.fixture
async def line() -> Line:
    return Line()


@dataclass
class Reply:
    wire: bytes
    body: bytes
    trailers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"
    status: int = 200


REPLIES = {
    "length": Reply(SHORT, b"hi"),
    "empty": Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    "chunked": Reply(CHUNKED + b"2\r\nhi\r\n3;x=y\r\n ho\r\n0\r\n\r\n", b"hi ho"),
    "trailers": Reply(
        CHUNKED + b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n", b"hi", (("x-sum", "1"),)
    ),
    "interim": Reply(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + SHORT,
        b"hi",
    ),
    "head": Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"", method="HEAD"),
    "no content": Reply(b"HTTP/1.1 204 No Content\r\n\r\n", b"", status=204),
    "not modified": Reply(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"", status=304
    ),
    "reset content": Reply(
        b"HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nhi", b"hi", status=205
    ),
}


@pytest.mark.parametrize("name", REPLIES)
async def test_a_reply_is_read_however_it_is_cut(name: str) -> None:
    reply = REPLIES[name]
    size = len(reply.wire)
    in_two = [(reply.wire[:at], reply.wire[at:]) for at in range(size)]
    dribbled = tuple(reply.wire[at : at + 1] for at in range(size))
    for pieces in [*in_two, dribbled]:
        line = Line()
        sink = line.ask(reply.method)
        for piece in filter(None, pieces):
            line.transport.feed(piece)
        assert sink.told == ["head", *(["data"] if reply.body else []), "end"]
        assert sink.head is not None and sink.head.status == reply.status
        assert bytes(sink.body) == reply.body
        assert sink.trailers == reply.trailers
        assert line.freed == 1
        assert line.connection.state is State.IDLE
        assert not line.transport.aborted


async def test_a_freed_connection_carries_further_requests(line: Line) -> None:
    for number in range(1, 4):
        sink = line.ask()
        line.transport.feed(SHORT)
        assert (bytes(sink.body), line.freed) == (b"hi", number)
    assert bytes(line.transport.written) == ASK * 3


async def test_body_bytes_are_handed_on_as_they_arrive(line: Line) -> None:
    sink = line.ask()
    line.transport.feed(CHUNKED + b"5\r\nhel")
    assert bytes(sink.body) == b"hel"
    line.transport.feed(b"lo\r\n")
    assert bytes(sink.body) == b"hello"
    assert sink.told == ["head", "data"]


async def test_many_interim_replies_in_one_read_are_passed_over(line: Line) -> None:
    sink = line.ask()
    line.transport.feed(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000 + SHORT)
    assert sink.told == ["head", "data", "end"]


# -- when it may carry another request -----------------------------------------------


@pytest.mark.parametrize(
    "wire",
    [
        SHORT + b"!",
        CHUNKED + b"0\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\nsurprise",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ],
)
async def test_a_reply_is_good_though_its_connection_is_not_kept(
    line: Line, wire: bytes
) -> None:
    sink = line.ask()
    line.transport.feed(wire)
    assert sink.told[-1] == "end"
    assert line.transport.aborted
    assert line.freed == 0
    await settle()
    assert line.lost == 1
    assert sink.told.count("end") == 1


async def test_an_answer_before_the_request_is_complete_ends_the_connection(
    line: Line,
) -> None:
    sink = line.ask(more=True)
    await line.connection.send_body(b"half of it")
    line.transport.feed(SHORT)
    assert sink.told[-1] == "end"
    assert line.freed == 0
    assert line.transport.aborted


async def test_a_complete_streamed_request_frees_the_connection(line: Line) -> None:
    sink = line.ask(more=True)
    await line.connection.send_body(b"all")
    line.connection.sent()
    line.transport.feed(SHORT)
    assert sink.told[-1] == "end"
    assert line.freed == 1


async def test_a_connection_with_unsent_bytes_is_not_kept(line: Line) -> None:
    line.ask()
    line.transport.unsent = 1
    line.transport.feed(SHORT)
    assert line.freed == 0
    assert line.transport.aborted


async def test_bytes_unasked_on_an_idle_connection_end_it(line: Line) -> None:
    line.ask()
    line.transport.feed(SHORT)
    line.transport.feed(b"HTTP/1.1 200 OK\r\n")
    assert line.transport.aborted
    await settle()
    assert line.lost == 1


async def test_bytes_before_any_request_end_it(line: Line) -> None:
    line.transport.feed(b"220 mail.lan ESMTP\r\n")
    assert line.transport.aborted


# -- how it ends ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "wire", "kind", "phase"),
    [
        (b"", b"", BrokenReply, Phase.FIRST_BYTE),
        (b"", b"HTTP/1.1 2", BrokenReply, Phase.FIRST_BYTE),
        (SHORT, b"", StaleConnection, Phase.FIRST_BYTE),
        (SHORT, b"H", BrokenReply, Phase.FIRST_BYTE),
        (SHORT, b"HTTP/1.1 100 Continue\r\n\r\n", BrokenReply, Phase.FIRST_BYTE),
        (SHORT, SHORT[:-1], BrokenReply, Phase.IDLE),
        (b"", CHUNKED, BrokenReply, Phase.IDLE),
        (b"", CHUNKED + b"2\r\nhi\r\n", BrokenReply, Phase.IDLE),
        (b"", CHUNKED + b"2\r\nhi\r\n0\r\n", BrokenReply, Phase.IDLE),
    ],
)
@pytest.mark.parametrize("error", [None, ConnectionResetError()])
async def test_a_lost_connection_says_how_far_it_got(
    line: Line,
    before: bytes,
    wire: bytes,
    kind: type[UpstreamFailed],
    phase: Phase,
    error: Exception | None,
) -> None:
    if before:
        line.ask()
        line.transport.feed(before)
    sink = line.ask()
    if wire:
        line.transport.feed(wire)
    line.transport.lose(error)
    assert type(sink.failure) is kind
    assert sink.failure is not None and sink.failure.phase is phase
    assert sink.told.count("failed") == 1
    assert "end" not in sink.told
    assert line.lost == 1


async def test_a_body_without_framing_ends_when_the_server_closes(line: Line) -> None:
    sink = line.ask()
    line.transport.feed(ENDLESS + b"all of ")
    line.transport.feed(b"it")
    line.transport.lose()
    assert sink.told == ["head", "data", "end"]
    assert bytes(sink.body) == b"all of it"
    assert line.freed == 0


async def test_a_body_without_framing_is_broken_by_a_reset(line: Line) -> None:
    sink = line.ask()
    line.transport.feed(ENDLESS + b"some")
    line.transport.lose(ConnectionResetError())
    assert sink.told == ["head", "data", "failed"]


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"2\r\nhi!\r\n",
    ],
)
async def test_what_is_no_http_is_refused_and_closed(line: Line, wire: bytes) -> None:
    sink = line.ask()
    line.transport.feed(wire)
    assert isinstance(sink.failure, BrokenReply)
    assert line.transport.aborted
    await settle()
    assert sink.told.count("failed") == 1
    assert line.freed == 0


@pytest.mark.parametrize("size", [1 << 20, 5000])
async def test_a_head_has_one_limit_however_it_arrives(line: Line, size: int) -> None:
    sink = line.ask()
    wire = b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_LIMIT + b"\r\n\r\n"
    for at in range(0, len(wire), size):
        if not line.transport.aborted:
            line.transport.feed(wire[at : at + size])
    assert sink.failure is not None and "too long" in sink.failure.message


async def test_a_sink_that_refuses_the_head_ends_the_connection(line: Line) -> None:
    sink = line.ask()
    sink.refusal = BrokenReply("unwanted", Phase.FIRST_BYTE)
    line.transport.feed(CHUNKED)
    assert sink.told == ["head", "failed"]
    assert line.transport.aborted


async def test_a_sink_that_lets_go_at_the_head_hears_nothing_more(line: Line) -> None:
    sink = line.ask()
    sink.drops = line.connection
    line.transport.feed(CHUNKED)
    await settle()
    assert sink.told == ["head"]
    assert line.lost == 1


async def test_after_an_abort_the_sink_hears_nothing(line: Line) -> None:
    sink = line.ask()
    line.transport.feed(CHUNKED + b"2\r\nhi\r\n")
    line.connection.abort()
    line.connection.abort()
    await settle()
    assert sink.told == ["head", "data"]
    assert line.lost == 1
    assert line.connection.state is State.CLOSED


async def test_a_connection_is_dropped_only_by_whom_it_serves(line: Line) -> None:
    first = line.ask()
    line.transport.feed(SHORT)
    second = line.ask()
    line.connection.drop(first)
    assert not line.transport.aborted
    line.connection.drop(second)
    assert line.transport.aborted


# -- back-pressure ----------------------------------------------------------------


async def test_reading_is_paused_and_resumed_once(line: Line) -> None:
    line.ask()
    line.connection.pause()
    line.connection.pause()
    assert not line.transport.reading
    line.connection.resume()
    assert line.transport.reading


async def test_a_connection_paused_to_the_end_is_read_again_by_the_next(
    line: Line,
) -> None:
    line.ask()
    line.connection.pause()
    line.transport.feed(SHORT)
    assert line.transport.reading
    assert line.freed == 1


async def test_a_body_waits_while_the_upstream_takes_no_more(line: Line) -> None:
    line.ask(more=True)
    line.transport.block()
    sending = asyncio.ensure_future(line.connection.send_body(b"more"))
    await settle()
    assert not sending.done()
    line.transport.unblock()
    await sending


async def test_a_waiting_body_is_let_go_when_the_connection_is_lost(line: Line) -> None:
    line.ask(more=True)
    line.transport.block()
    sending = asyncio.ensure_future(line.connection.send_body(b"more"))
    await settle()
    line.transport.lose()
    await sending
    with pytest.raises(ConnectionResetError):
        await line.connection.send_body(b"and more")


async def test_a_cancelled_body_leaves_the_next_one_waiting_alike(line: Line) -> None:
    line.ask(more=True)
    line.transport.block()
    first = asyncio.ensure_future(line.connection.send_body(b"a"))
    second = asyncio.ensure_future(line.connection.send_body(b"b"))
    await settle()
    first.cancel()
    await settle()
    assert not second.done()
    line.transport.unblock()
    await second


async def test_unsent_bytes_are_counted_while_there_is_a_transport(line: Line) -> None:
    line.transport.unsent = 7
    assert line.connection.unsent_bytes() == 7
    line.transport.lose()
    assert line.connection.unsent_bytes() == 0


# -- tunnels ------------------------------------------------------------------------

UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


class KeptTunnel:
    def __init__(self) -> None:
        self.bytes = bytearray()
        self.is_closed = 0
        self.is_paused = False

    def received(self, data: bytes) -> None:
        self.bytes += data

    def closed(self) -> None:
        self.is_closed += 1

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False


@pytest.fixture
def tunnel(line: Line) -> KeptTunnel:
    line.ask("GET")
    line.transport.feed(UPGRADE + b"early")
    tunnel = KeptTunnel()
    line.connection.enter_tunnel(tunnel, tunnel)
    return tunnel


async def test_a_tunnel_gets_what_came_with_the_head_and_all_after(
    line: Line, tunnel: KeptTunnel
) -> None:
    line.transport.feed(b" and late")
    assert bytes(tunnel.bytes) == b"early and late"
    line.connection.write(b"back")
    assert line.transport.written.endswith(b"back")


async def test_who_feeds_a_tunnel_is_paused_while_it_takes_no_more(
    line: Line, tunnel: KeptTunnel
) -> None:
    line.transport.block()
    assert tunnel.is_paused
    line.transport.unblock()
    assert not tunnel.is_paused


async def test_a_tunnel_is_told_of_its_end_once(line: Line, tunnel: KeptTunnel) -> None:
    line.transport.lose()
    await settle()
    assert tunnel.is_closed == 1
    line.connection.write(b"nobody there")
    assert line.lost == 1
    assert line.freed == 0


async def test_an_aborted_tunnel_hears_nothing(line: Line, tunnel: KeptTunnel) -> None:
    line.connection.abort()
    await settle()
    assert tunnel.is_closed == 0
