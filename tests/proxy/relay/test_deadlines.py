"""The limits of a transfer, by a clock moved by hand; callers that are slow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from proxy.relay.client import Outgoing
from proxy.relay.errors import CallerStalled, Phase, TimedOut
from proxy.relay.modes import Mode
from proxy.relay.transfer import STALE_WITHIN_S
from tests.proxy.relay.rig import (
    LIMITS,
    LONG_HEAD,
    POST,
    SHORT,
    Rig,
    Upload,
    by_events,
    chunk,
    gathered,
    plain,
    settle,
)

# -- deadlines ---------------------------------------------------------------------


def assert_timed_out(failure: BaseException | None, phase: Phase) -> None:
    assert isinstance(failure, TimedOut)
    assert failure.phase is phase


async def test_connecting_has_a_limit(rig: Rig) -> None:
    rig.dial.hangs = True
    ride = await rig.begin(plain, POST, replace(LIMITS, connect_s=0))
    assert_timed_out(await ride.failure(), Phase.CONNECT)
    assert rig.is_clean()


async def test_an_upstream_that_does_not_take_the_request_has_a_limit(rig: Rig) -> None:
    ride = await rig.begin()
    rig.upstream.unsent = 1000
    rig.hands.pass_by(0.25)
    rig.hands.pass_by(LIMITS.write_s)
    assert not ride.task.done()
    rig.hands.pass_by(0.25)
    assert_timed_out(await ride.failure(), Phase.WRITE)
    assert rig.upstream.aborted
    assert rig.is_clean()


async def test_an_upstream_that_takes_the_request_slowly_does_not(rig: Rig) -> None:
    ride = await rig.begin()
    for left in range(100, 0, -1):
        rig.upstream.unsent = left
        rig.hands.pass_by(LIMITS.write_s)
    await settle()
    assert not ride.task.done()
    rig.upstream.unsent = 0
    rig.upstream.feed(SHORT)
    await ride.moved()


async def test_the_first_byte_has_a_limit(rig: Rig) -> None:
    ride = await rig.begin()
    rig.hands.pass_by(LIMITS.first_byte_s)
    await settle()
    assert not ride.task.done()
    rig.hands.pass_by(0.25)
    assert_timed_out(await ride.failure(), Phase.FIRST_BYTE)
    assert rig.upstream.aborted
    assert rig.is_clean()


@pytest.mark.parametrize("mode", [plain, gathered])
async def test_a_head_alone_is_no_first_byte(
    rig: Rig, mode: Callable[..., Mode]
) -> None:
    """Some send their head at once and then load the model for minutes."""
    ride = await rig.begin(mode)
    rig.upstream.feed(LONG_HEAD)
    rig.hands.pass_by(LIMITS.idle_s + 1)
    await settle()
    assert not ride.task.done()
    rig.hands.pass_by(LIMITS.first_byte_s)
    assert_timed_out(await ride.failure(), Phase.FIRST_BYTE)


@pytest.mark.parametrize("mode", [plain, gathered, by_events])
async def test_a_pause_in_the_body_has_a_limit(
    rig: Rig, mode: Callable[..., Mode]
) -> None:
    ride = await rig.begin(mode)
    rig.upstream.feed(LONG_HEAD)
    for _ in range(5):
        rig.upstream.feed(b"x")
        rig.hands.pass_by(0.25)
        rig.hands.pass_by(LIMITS.idle_s)
        await settle()
        assert not ride.task.done()
    rig.hands.pass_by(0.25)
    assert_timed_out(await ride.failure(), Phase.IDLE)
    assert rig.upstream.aborted
    assert not ride.reply.ended
    assert rig.is_clean()


async def test_a_whole_reply_may_have_a_limit_in_all(rig: Rig) -> None:
    ride = await rig.begin(gathered, POST, replace(LIMITS, whole_s=60))
    rig.upstream.feed(LONG_HEAD)
    for _ in range(6):
        rig.upstream.feed(b"x")
        rig.hands.pass_by(10)
    await settle()
    assert not ride.task.done()
    rig.upstream.feed(b"x")
    rig.hands.pass_by(0.25)
    assert_timed_out(await ride.failure(), Phase.WHOLE)


async def test_a_stream_has_no_limit_in_all(rig: Rig) -> None:
    ride = await rig.begin(plain)
    rig.upstream.feed(LONG_HEAD)
    for _ in range(10_000):
        rig.upstream.feed(b"x")
        rig.hands.pass_by(10)
    await settle()
    assert not ride.task.done()
    ride.task.cancel()


async def test_each_try_has_its_limits_anew(rig: Rig) -> None:
    await rig.warm()
    ride = await rig.begin()
    rig.hands.pass_by(STALE_WITHIN_S)
    rig.dial.made[0].lose()
    await settle()
    rig.hands.pass_by(LIMITS.first_byte_s - 1)
    await settle()
    assert not ride.task.done()
    rig.upstream.feed(SHORT)
    await ride.moved()


# -- the caller reads or sends too slowly ----------------------------------------------


async def test_a_slow_caller_holds_the_upstream_back(rig: Rig) -> None:
    ride = await rig.begin()
    rig.upstream.feed(LONG_HEAD + b"x")
    ride.reply.hold()
    assert not rig.upstream.reading
    ride.reply.go_on()
    assert rig.upstream.reading
    ride.task.cancel()


async def test_a_caller_that_is_slow_already_holds_it_back_from_the_head_on(
    rig: Rig,
) -> None:
    ride = await rig.begin()
    ride.reply.hold()
    assert rig.upstream.reading
    rig.upstream.feed(LONG_HEAD)
    assert not rig.upstream.reading
    ride.task.cancel()


async def test_the_upstream_is_not_blamed_while_the_caller_is_slow(rig: Rig) -> None:
    ride = await rig.begin()
    rig.upstream.feed(LONG_HEAD + b"x")
    rig.hands.pass_by(0.25)
    for _ in range(5):
        rig.upstream.feed(b"x")
        ride.reply.hold()
        rig.hands.pass_by(0.25)
        rig.hands.pass_by(LIMITS.idle_s - 1)
        ride.reply.go_on()
        rig.hands.pass_by(LIMITS.idle_s - 1)
    await settle()
    assert not ride.task.done()
    rig.upstream.feed(b"y" * 999_994)
    await ride.moved()


async def test_a_caller_that_takes_nothing_for_too_long_is_let_go(rig: Rig) -> None:
    ride = await rig.begin()
    rig.upstream.feed(LONG_HEAD + b"x")
    ride.reply.hold()
    rig.hands.pass_by(0.25)
    rig.hands.pass_by(LIMITS.idle_s)
    await settle()
    assert not ride.task.done()
    rig.hands.pass_by(0.25)
    assert isinstance(await ride.failure(), CallerStalled)
    assert rig.upstream.aborted
    assert rig.is_clean()


async def test_a_caller_that_sends_slowly_is_not_the_upstreams_fault(rig: Rig) -> None:
    upload = Upload()
    ride = await rig.begin(gathered, Outgoing("POST", "/", [], aiter(upload)))
    for _ in range(5):
        rig.hands.pass_by(LIMITS.first_byte_s)
        upload.pieces.put_nowait(b"piece")
        await settle()
    upload.pieces.put_nowait(None)
    await settle()
    rig.hands.pass_by(LIMITS.first_byte_s - 1)
    assert rig.upstream.written.endswith(chunk(b"piece") * 5 + b"0\r\n\r\n")
    rig.upstream.feed(SHORT)
    assert (await ride.moved()).body == b"hi"
    assert rig.counts == (0, 1)


async def test_the_first_byte_is_awaited_from_the_end_of_the_body_on(rig: Rig) -> None:
    upload = Upload()
    ride = await rig.begin(gathered, Outgoing("POST", "/", [], aiter(upload)))
    upload.pieces.put_nowait(None)
    await settle()
    rig.hands.pass_by(LIMITS.first_byte_s + 1)
    assert_timed_out(await ride.failure(), Phase.FIRST_BYTE)


async def test_an_upload_that_the_upstream_stops_taking_has_a_limit(rig: Rig) -> None:
    upload = Upload()
    ride = await rig.begin(gathered, Outgoing("POST", "/", [], aiter(upload)))
    rig.upstream.block()
    rig.upstream.unsent = 1 << 16
    upload.pieces.put_nowait(b"x" * (1 << 16))
    upload.pieces.put_nowait(b"never read")
    await settle()
    assert upload.pieces.qsize() == 1, "the caller is held back"
    rig.hands.pass_by(0.25)
    rig.hands.pass_by(LIMITS.write_s + 0.25)
    assert_timed_out(await ride.failure(), Phase.WRITE)
    assert rig.is_clean()
