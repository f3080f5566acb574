"""One reply on its way, over connections without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from proxy.core.errors import CallerFault
from proxy.relay.client import Outgoing
from proxy.relay.errors import (
    BrokenReply,
    ConnectFailed,
    Phase,
    StaleConnection,
    UpstreamFailed,
)
from proxy.relay.head import ReplyHead
from proxy.relay.modes import Mode
from proxy.relay.transfer import STALE_WITHIN_S
from tests.fakes.reply import KeptReply
from tests.proxy.relay.rig import (
    DONE,
    EVENT,
    LONG_HEAD,
    SHORT,
    STREAM_HEAD,
    Rig,
    Upload,
    by_events,
    chunk,
    gathered,
    plain,
    settle,
)

# -- what comes back ------------------------------------------------------------------


async def test_a_whole_reply_is_moved(rig: Rig) -> None:
    ride = await rig.begin(gathered)
    assert rig.upstream.written.endswith(b"content-length: 2\r\n\r\n{}")
    rig.upstream.feed(STREAM_HEAD + chunk(b"a") + chunk(b"b") + b"0\r\nX: y\r\n\r\n")
    moved = await ride.moved()
    assert (moved.head.status, moved.body) == (200, b"ab")
    assert moved.trailers == (("x", "y"),)
    assert not ride.reply.started
    assert rig.counts == (0, 1)
    assert rig.is_clean()


async def test_a_stream_passes_event_by_event(rig: Rig) -> None:
    ride = await rig.begin(by_events)
    rig.upstream.feed(STREAM_HEAD)
    rig.upstream.feed(chunk(EVENT + EVENT[:9]))
    assert ride.reply.writes == [EVENT]
    rig.upstream.feed(chunk(EVENT[9:]))
    rig.upstream.feed(chunk(DONE) + b"0\r\n\r\n")
    assert (await ride.moved()).body is None
    assert bytes(ride.reply.body) == EVENT + EVENT + DONE
    assert ride.reply.ended
    assert rig.is_clean()


async def test_times_are_noted_as_things_happen(rig: Rig) -> None:
    began = rig.hands.now
    ride = await rig.begin()
    rig.hands.now += 1
    rig.upstream.feed(LONG_HEAD)
    assert not ride.transfer.body_began
    rig.hands.now += 1
    rig.upstream.feed(b"x")
    rig.hands.now += 1
    rig.upstream.feed(b"x")
    transfer = ride.transfer
    assert transfer.body_began
    assert transfer.sent_at == began
    assert transfer.head_at == began + 1
    assert transfer.first_byte_at == began + 2
    ride.task.cancel()


async def test_a_reply_without_a_body_is_whole_at_its_head(rig: Rig) -> None:
    ride = await rig.begin(plain, Outgoing("HEAD", "/", []))
    rig.upstream.feed(LONG_HEAD)
    await ride.moved()
    assert ride.reply.ended
    assert not ride.transfer.body_began


async def test_a_reply_that_ends_with_its_connection_is_whole(rig: Rig) -> None:
    ride = await rig.begin(gathered)
    rig.upstream.feed(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    rig.upstream.lose()
    assert (await ride.moved()).body == b"all of it"
    assert rig.counts == (0, 0)


# -- connections: kept, stale, another's ---------------------------------------------


async def test_the_next_request_takes_the_same_connection(rig: Rig) -> None:
    await rig.warm()
    ride = await rig.begin(gathered)
    assert len(rig.dial.made) == 1
    rig.upstream.feed(SHORT)
    assert (await ride.moved()).body == b"hi"


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
async def test_a_stale_connection_is_replaced_by_a_fresh_one(
    rig: Rig, error: Exception | None
) -> None:
    """Not by another kept one, which may be as stale."""
    await rig.warm(2)
    ride = await rig.begin(gathered)
    rig.dial.made[1].lose(error)
    await settle()
    assert len(rig.dial.made) == 3
    assert (
        rig.upstream.written == rig.dial.made[1].written[-len(rig.upstream.written) :]
    )
    rig.upstream.feed(SHORT)
    assert (await ride.moved()).body == b"hi"


async def test_one_that_closes_after_a_while_was_at_work_and_is_not_asked_again(
    rig: Rig,
) -> None:
    """It may have been loading a model: sent again, that would begin anew."""
    await rig.warm()
    ride = await rig.begin(gathered)
    rig.hands.pass_by(STALE_WITHIN_S + 1)
    rig.upstream.lose()
    assert isinstance(await ride.failure(), StaleConnection)
    assert len(rig.dial.made) == 1
    assert rig.is_clean()


async def test_the_second_try_is_the_last(rig: Rig) -> None:
    await rig.warm()
    ride = await rig.begin(gathered)
    rig.upstream.lose()
    await settle()
    rig.upstream.lose()
    failure = await ride.failure()
    assert type(failure) is BrokenReply
    assert len(rig.dial.made) == 2
    assert rig.is_clean()


@pytest.mark.parametrize(
    "came", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", LONG_HEAD, LONG_HEAD + b"x"]
)
async def test_nothing_is_sent_twice_once_a_byte_has_come(
    rig: Rig, came: bytes
) -> None:
    await rig.warm()
    ride = await rig.begin(gathered)
    rig.upstream.feed(came)
    rig.upstream.lose()
    assert type(await ride.failure()) is BrokenReply
    assert len(rig.dial.made) == 1


async def test_a_fresh_connection_is_never_stale(rig: Rig) -> None:
    ride = await rig.begin(gathered)
    rig.upstream.lose()
    assert type(await ride.failure()) is BrokenReply
    assert len(rig.dial.made) == 1


async def test_a_streamed_body_is_never_sent_twice(rig: Rig) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"only once"

    await rig.warm()
    ride = await rig.begin(gathered, Outgoing("POST", "/", [], pieces(), 9))
    rig.upstream.lose()
    assert isinstance(await ride.failure(), StaleConnection)
    assert len(rig.dial.made) == 1
    assert rig.is_clean()


async def test_a_connection_in_second_hands_outlives_the_first_ones_cleanup(
    rig: Rig,
) -> None:
    """The end of a reply frees its connection at once; who waited may take it and
    send before the first request's task has run again.
    """
    first = await rig.begin(gathered)
    second = rig.start(gathered)  # runs before the first one is woken
    rig.upstream.feed(SHORT)
    await settle()
    assert first.task.done()
    assert len(rig.dial.made) == 1, "the second took the first one's connection"
    assert not rig.upstream.aborted
    rig.upstream.feed(SHORT)
    assert (await second.moved()).body == b"hi"
    assert rig.counts == (0, 1)


async def test_a_connection_in_second_hands_outlives_the_first_ones_cancellation(
    rig: Rig,
) -> None:
    first = await rig.begin(gathered)
    second = rig.start(gathered)
    rig.upstream.feed(SHORT)
    first.task.cancel()
    await settle()
    assert first.task.cancelled()
    rig.upstream.feed(SHORT)
    assert (await second.moved()).body == b"hi"


async def test_a_late_tick_or_pause_of_the_first_leaves_the_second_alone(
    rig: Rig,
) -> None:
    first = await rig.begin(gathered)
    second = rig.start(gathered)
    rig.upstream.feed(SHORT)
    rig.hands.now += 1  # before the first one's task is woken
    first.transfer.tick(rig.hands.now + 1000)
    first.transfer.pause()
    assert rig.upstream.reading
    await settle()
    assert len(rig.dial.made) == 1
    assert not rig.upstream.aborted
    rig.upstream.feed(SHORT)
    assert (await second.moved()).body == b"hi"


# -- failures -------------------------------------------------------------------------


async def test_no_connection_is_a_failure_of_its_phase(rig: Rig) -> None:
    rig.dial.failure = ConnectFailed("it refused the connection")
    failure = await rig.start().failure()
    assert isinstance(failure, ConnectFailed)
    assert failure.phase is Phase.CONNECT
    assert rig.is_clean()


@pytest.mark.parametrize(
    ("wire", "phase"),
    [
        (b"", Phase.FIRST_BYTE),
        (b"nonsense\r\n\r\n", Phase.FIRST_BYTE),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Phase.FIRST_BYTE),
        (LONG_HEAD + b"x", Phase.IDLE),
        (STREAM_HEAD + b"zz\r\n", Phase.IDLE),
        (STREAM_HEAD + chunk(b"x") + b"0\r\n", Phase.IDLE),
    ],
)
@pytest.mark.parametrize("mode", [gathered, plain])
async def test_half_a_reply_never_looks_whole(
    rig: Rig, wire: bytes, phase: Phase, mode: Callable[..., Mode]
) -> None:
    ride = await rig.begin(mode)
    if wire:
        rig.upstream.feed(wire)
    rig.upstream.lose()
    failure = await ride.failure()
    assert isinstance(failure, BrokenReply)
    assert failure.phase is phase
    assert not ride.reply.ended
    assert rig.is_clean()


async def test_a_stream_lost_after_its_terminator_has_ended_well(rig: Rig) -> None:
    ride = await rig.begin(by_events)
    rig.upstream.feed(STREAM_HEAD + chunk(EVENT + DONE))
    rig.upstream.lose(ConnectionResetError())
    await ride.moved()
    assert ride.reply.ended


async def test_a_stream_lost_before_its_terminator_is_broken(rig: Rig) -> None:
    ride = await rig.begin(by_events)
    rig.upstream.feed(STREAM_HEAD + chunk(EVENT))
    rig.upstream.lose()
    assert isinstance(await ride.failure(), BrokenReply)
    assert not ride.reply.ended
    assert bytes(ride.reply.body) == EVENT


async def test_a_stream_that_ends_without_its_terminator_is_broken(rig: Rig) -> None:
    ride = await rig.begin(by_events)
    rig.upstream.feed(STREAM_HEAD + chunk(EVENT) + b"0\r\n\r\n")
    assert isinstance(await ride.failure(), BrokenReply)
    assert not ride.reply.ended
    assert rig.counts == (0, 1), "HTTP was in order: the connection is kept"


async def test_an_event_too_large_closes_the_connection(rig: Rig) -> None:
    ride = await rig.begin(by_events)
    rig.upstream.feed(STREAM_HEAD + chunk(EVENT))
    rig.upstream.feed(chunk(b"x" * ((1 << 16) + 1)))
    failure = await ride.failure()
    assert isinstance(failure, BrokenReply)
    assert "maxEventBytes" in failure.message
    assert rig.upstream.aborted


async def test_a_reply_that_no_mode_takes_is_refused(rig: Rig) -> None:
    def refuse(head: ReplyHead, reply: KeptReply) -> Mode:
        raise BrokenReply("it answered no stream to a stream", Phase.FIRST_BYTE)

    ride = await rig.begin(refuse)
    rig.upstream.feed(LONG_HEAD)
    assert isinstance(await ride.failure(), BrokenReply)
    assert rig.upstream.aborted
    assert rig.is_clean()


async def test_a_whole_reply_that_no_mode_takes_leaves_its_connection(rig: Rig) -> None:
    def refuse(head: ReplyHead, reply: KeptReply) -> Mode:
        raise BrokenReply("it answered with a redirect", Phase.FIRST_BYTE)

    ride = await rig.begin(refuse)
    rig.upstream.feed(SHORT)
    assert isinstance(await ride.failure(), BrokenReply)
    assert rig.counts == (0, 1)


async def test_messages_of_failures_name_no_address(rig: Rig) -> None:
    wires = [b"", b"secret\r\n\r\n", STREAM_HEAD + b"secret\r\n", LONG_HEAD + b"secret"]
    for wire in wires:
        ride = await rig.begin(gathered)
        if wire:
            rig.upstream.feed(wire)
        rig.upstream.lose()
        failure = await ride.failure()
        assert isinstance(failure, UpstreamFailed)
        assert "box.lan" not in failure.message
        assert "secret" not in failure.message


# -- the caller goes away ---------------------------------------------------------


@pytest.mark.parametrize(
    "came",
    [b"", b"HTTP/1.1 2", LONG_HEAD, LONG_HEAD + b"x", STREAM_HEAD + chunk(b"x")],
)
@pytest.mark.parametrize("mode", [gathered, plain])
async def test_a_cancelled_transfer_closes_its_connection(
    rig: Rig, came: bytes, mode: Callable[..., Mode]
) -> None:
    ride = await rig.begin(mode)
    if came:
        rig.upstream.feed(came)
    ride.task.cancel()
    await settle()
    assert ride.task.cancelled()
    assert rig.upstream.aborted
    assert rig.counts == (0, 0)
    assert rig.is_clean()


async def test_cancelled_while_connecting_it_leaves_nothing(rig: Rig) -> None:
    rig.dial.hangs = True
    ride = await rig.begin()
    ride.task.cancel()
    await settle()
    assert ride.task.cancelled()
    assert rig.is_clean()


async def test_cancelled_while_sending_it_closes_its_connection(rig: Rig) -> None:
    ended = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"a piece"
            await asyncio.Event().wait()
        finally:
            ended.set()

    ride = await rig.begin(plain, Outgoing("POST", "/", [], pieces()))
    ride.task.cancel()
    await settle()
    assert ride.task.cancelled()
    assert ended.is_set()
    assert rig.upstream.aborted
    assert rig.is_clean()


# -- bodies that are sent as they come ------------------------------------------------


async def test_an_answer_before_the_end_of_the_body_is_the_answer(rig: Rig) -> None:
    """A 413 comes while we send: the rest is not sent, the connection not kept."""
    upload = Upload()
    ride = await rig.begin(gathered, Outgoing("POST", "/", [], aiter(upload), 1 << 30))
    upload.pieces.put_nowait(b"the beginning")
    await settle()
    rig.upstream.feed(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    moved = await ride.moved()
    assert (moved.head.status, moved.body) == (413, b"no")
    assert rig.upstream.aborted
    await settle()
    assert rig.counts == (0, 0)
    assert rig.is_clean()


async def test_an_upload_and_its_reply_may_overlap(rig: Rig) -> None:
    upload = Upload()
    ride = await rig.begin(plain, Outgoing("POST", "/", [], aiter(upload)))
    rig.upstream.feed(STREAM_HEAD + chunk(b"first"))
    upload.pieces.put_nowait(b"more")
    await settle()
    assert rig.upstream.written.endswith(chunk(b"more"))
    upload.pieces.put_nowait(None)
    await settle()
    rig.upstream.feed(chunk(b"last") + b"0\r\n\r\n")
    await ride.moved()
    assert bytes(ride.reply.body) == b"firstlast"
    assert rig.counts == (0, 1)


async def test_what_reading_the_body_raises_is_raised(rig: Rig) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a piece"
        raise CallerFault("request_timeout", "The body did not arrive in time.")

    ride = await rig.begin(gathered, Outgoing("POST", "/", [], pieces()))
    assert isinstance(await ride.failure(), CallerFault)
    assert rig.upstream.aborted
    assert not rig.upstream.written.endswith(b"0\r\n\r\n")
    assert rig.is_clean()


async def test_a_connection_lost_while_sending_fails_the_reply(rig: Rig) -> None:
    upload = Upload()
    ride = await rig.begin(gathered, Outgoing("POST", "/", [], aiter(upload)))
    rig.upstream.lose(BrokenPipeError())
    upload.pieces.put_nowait(b"into the void")
    failure = await ride.failure()
    assert type(failure) is BrokenReply
    assert rig.is_clean()
