"""What leaves together: a stream's head and first bytes, its last bytes and end, the
chunks of one turn of the loop.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from proxy.core.outbox import FEW, PATIENCE, Outbox
from proxy.relay.lane import Lane
from proxy.server.reply import TransportReply
from tests.parts.http_text import chunk
from tests.proxy.server.callers_wire import Wire, reply_on

FIELDS = [("content-type", "text/plain"), ("x-odd", "grü\xdfe")]


@pytest.fixture
def wire() -> Wire:
    return Wire()


ONE = b'data: {"n":1}\n\n'
TWO = b'data: {"n":2}\n\n'


class Between:
    """A stream that stands between two events, always; what comes here is kept."""

    is_between = nothing_held = True

    def __init__(self) -> None:
        self.came: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.came.append(data)

    def eof_received(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def is_plain(self, frame: bytes) -> bool:
        return False


class Short(Lane):
    """A lane on which `pass_on` answers whether a chunk took it."""

    def __init__(self, reply: TransportReply) -> None:
        self.stream = Between()
        super().__init__(self.stream, (b"mark", b"mark"))
        self.enter(self.stream)
        reply.lend(self)
        self.pass_on(b"")

    def pass_on(self, frame: bytes) -> bool:
        before = len(self.stream.came)
        self.data_received(frame)
        return len(self.stream.came) == before


def stream_on(
    wire: Wire, outbox: Outbox | None, **options: Any
) -> tuple[TransportReply, Short]:
    reply = reply_on(wire, outbox=outbox, **options)
    reply.start(200, FIELDS, None)
    return reply, Short(reply)


async def test_a_chunk_passes_as_it_came(wire: Wire) -> None:
    reply, lane = stream_on(wire, Outbox())
    assert lane.pass_on(chunk(ONE))
    reply.end()
    assert wire.message.body == ONE
    assert wire.transport.written.endswith(b"\r\n\r\n" + chunk(ONE) + b"0\r\n\r\n")
    assert reply.bytes_out == len(ONE)


@pytest.mark.parametrize("options", [{"version": 0}, {"bodiless": True}])
def test_no_chunk_passes_where_none_are_sent(
    wire: Wire, options: dict[str, Any]
) -> None:
    reply, lane = stream_on(wire, Outbox(), **options)
    assert not lane.pass_on(chunk(ONE))
    assert reply.bytes_out == 0


@pytest.mark.parametrize("how", ["end", "abort", "lost"])
async def test_no_chunk_follows_the_end(wire: Wire, how: str) -> None:
    reply, lane = stream_on(wire, Outbox())
    assert lane.pass_on(chunk(ONE))
    match how:
        case "end":
            reply.end()
        case "abort":
            reply.abort()
        case _:
            reply.lost()
    assert not lane.pass_on(chunk(TWO))
    assert reply.bytes_out == len(ONE)


async def test_the_head_leaves_with_the_first_bytes(wire: Wire) -> None:
    reply = reply_on(wire, outbox=Outbox())
    reply.start(200, FIELDS, None)
    assert wire.transport.written == b""
    reply.write(b"one")
    assert wire.transport.writes == 1
    assert wire.transport.written.endswith(b"\r\n\r\n3\r\none\r\n")
    await asyncio.sleep(0)
    assert wire.transport.writes == 1


async def test_the_head_waits_for_nothing_but_this_turn(wire: Wire) -> None:
    reply = reply_on(wire, outbox=Outbox())
    reply.start(200, FIELDS, None)
    await asyncio.sleep(0)
    assert wire.transport.written.endswith(b"\r\n\r\n")
    reply.write(b"one")
    reply.end()
    assert wire.message.body == b"one"


@pytest.mark.parametrize("how", ["lost", "abort", "end"])
async def test_a_head_that_waits_is_not_sent_twice(wire: Wire, how: str) -> None:
    reply = reply_on(wire, outbox=Outbox())
    reply.start(200, FIELDS, None)
    match how:
        case "lost":
            reply.lost()
        case "abort":
            reply.abort()
        case _:
            reply.end()
    await asyncio.sleep(0)
    sent = wire.transport.written.count(b"HTTP/1.1 200 OK")
    assert sent == (0 if how == "lost" else 1)


async def test_the_last_bytes_leave_with_the_end(wire: Wire) -> None:
    reply, lane = stream_on(wire, Outbox())
    reply.keep_end()
    assert lane.pass_on(chunk(ONE))
    reply.end((), TWO)
    assert wire.message.body == ONE
    before = wire.transport.writes
    reply.release()
    assert wire.transport.writes == before + 1
    assert wire.message.body == ONE + TWO
    assert wire.message.complete
    assert reply.bytes_out == len(ONE + TWO)


async def test_nothing_of_a_reply_is_left_to_the_collector(wire: Wire) -> None:
    gc.collect()
    gc.disable()
    try:
        reply, lane = stream_on(wire, Outbox())
        reply.keep_end()
        assert lane.pass_on(chunk(ONE))
        reply.end((), TWO)
        reply.release()
        await asyncio.sleep(0)
        del reply, lane
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("length", [None, 3])
def test_the_last_bytes_are_sent_however_the_body_is_framed(
    wire: Wire, length: int | None
) -> None:
    reply = reply_on(wire)
    reply.start(200, FIELDS, length)
    reply.end((), b"end")
    assert wire.message.body == b"end"
    assert wire.message.complete
    assert reply.bytes_out == 3


async def test_chunks_leave_together_and_in_their_order(wire: Wire) -> None:
    outbox, other = Outbox(), Wire()
    (first, short), (second, long) = (stream_on(one, outbox) for one in (wire, other))
    await asyncio.sleep(0)
    outbox.alone = 0
    before = wire.transport.written
    assert short.pass_on(chunk(ONE))
    assert long.pass_on(chunk(TWO))
    assert wire.transport.written == before
    await asyncio.sleep(0)
    assert wire.transport.written == before + chunk(ONE)
    assert other.transport.written.endswith(b"\r\n\r\n" + chunk(TWO))
    assert outbox.waiting == []
    assert (first.bytes_out, second.bytes_out) == (len(ONE), len(TWO))


@pytest.mark.parametrize("then", ["write", "end", "abort"])
async def test_nothing_overtakes_a_chunk_that_waits(wire: Wire, then: str) -> None:
    outbox = Outbox()
    reply, lane = stream_on(wire, outbox)
    assert lane.pass_on(chunk(ONE))
    match then:
        case "write":
            reply.write(b"two")
        case "end":
            reply.end()
        case _:
            reply.abort()
            assert wire.transport.closed
    behind = {"write": b"3\r\ntwo\r\n", "end": b"0\r\n\r\n", "abort": b""}
    assert wire.transport.written.endswith(b"\r\n\r\n" + chunk(ONE) + behind[then])
    assert outbox.waiting == []
    await asyncio.sleep(0)
    assert wire.transport.written.count(ONE) == 1


async def test_who_has_gone_keeps_nobody_elses_chunk(wire: Wire) -> None:
    def closed(_: bytes) -> None:
        raise RuntimeError("the handler is closed")

    outbox = Outbox()
    outbox.open()
    outbox.waiting.append((closed, b"lost"))
    _, lane = stream_on(wire, outbox)
    assert lane.pass_on(chunk(ONE))
    await asyncio.sleep(0)
    assert wire.transport.written.endswith(chunk(ONE))


async def test_where_few_come_at_a_time_each_is_written_at_once(wire: Wire) -> None:
    outbox = Outbox()
    reply, lane = stream_on(wire, outbox)
    await asyncio.sleep(0)
    outbox.alone = 0

    def is_at_once() -> bool:
        before = wire.transport.written
        assert lane.pass_on(chunk(ONE))
        return bool(wire.transport.written != before)

    assert not is_at_once()
    await asyncio.sleep(0)
    assert [is_at_once() for _ in range(PATIENCE)] == [True] * PATIENCE
    assert [is_at_once() for _ in range(FEW + 1)] == [False] * (FEW + 1)
    await asyncio.sleep(0)
    assert not is_at_once()
    await asyncio.sleep(0)
    assert is_at_once()
    reply.end()
    assert wire.message.body == ONE * (PATIENCE + FEW + 4)


async def test_a_turn_of_many_is_one_though_some_leave_early(wire: Wire) -> None:
    outbox = Outbox()
    reply, lane = stream_on(wire, outbox)
    for _ in range(FEW + 1):
        assert lane.pass_on(chunk(ONE))
    reply.write(b"two")
    assert lane.pass_on(chunk(ONE))
    await asyncio.sleep(0)
    assert outbox.waiting == []
    assert outbox.alone == 0
