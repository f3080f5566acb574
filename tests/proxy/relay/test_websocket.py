"""An upgraded connection, passed both ways; over a connection without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import clock
from proxy.core.types import Pair
from proxy.relay.client import Client, Outgoing
from proxy.relay.errors import BrokenReply, Phase, TimedOut, UpstreamFailed
from proxy.relay.head import ReplyHead
from proxy.relay.origin import Origin
from proxy.relay.websocket import IDLE_S, LIFETIME_S, Frames, WebSocketTransfer
from tests.fakes.hand_clock import HandClock
from tests.fakes.reply import KeptReply
from tests.fakes.transport import FakeDial, FakeTransport
from tests.parts.http_text import Message
from tests.parts.listening import answering, listening
from tests.parts.outbound_proxy import OutboundProxy
from tests.parts.ports import HOST
from tests.parts.until import until
from tests.proxy.relay.rig import ORIGIN, SHORT, settle

UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
ASK = Outgoing("GET", "/ws", [("upgrade", "websocket"), ("connection", "Upgrade")])
FIRST_BYTE_S = 60.0
GOING_AWAY = b"\x88\x02\x03\xe9"


def frame(payload: bytes, *, opcode: int = 2, masked: bool = False) -> bytes:
    """Encode a frame as RFC 6455 §5.2 has it."""
    size, mask = len(payload), b"\1\2\3\4" if masked else b""
    bit = 0x80 if masked else 0
    if size < 126:
        length = bytes([bit | size])
    elif size < 1 << 16:
        length = bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([bit | 127]) + size.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + length + mask + payload


# -- following frames -----------------------------------------------------------------

SIZES = st.sampled_from([0, 1, 2, 125, 126, 127, 300, 65_535, 65_536])
FRAMES = st.lists(
    st.builds(
        lambda size, opcode, masked: frame(bytes(size), opcode=opcode, masked=masked),
        SIZES,
        st.sampled_from([0, 1, 2, 9, 10]),
        st.booleans(),
    ),
    max_size=5,
)


@given(FRAMES, st.lists(st.integers(0, 200_000), max_size=10))
def test_frames_are_followed_however_they_are_cut(
    parts: list[bytes], where: list[int]
) -> None:
    wire = b"".join(parts)
    ends = {0}
    for part in parts:
        ends.add(max(ends) + len(part))
    frames = Frames()
    at = 0
    for edge in sorted({min(cut, len(wire)) for cut in where} | {len(wire)}):
        frames.feed(wire[at:edge])
        at = edge
        assert frames.between == (at in ends)
    assert frames.between
    assert not frames.closing


@pytest.mark.parametrize("masked", [True, False])
def test_a_close_frame_is_noticed_at_its_head(masked: bool) -> None:
    frames = Frames()
    close = frame(b"\x03\xe8bye", opcode=8, masked=masked)
    frames.feed(frame(b"\x88") + close[:1])
    assert not frames.closing
    frames.feed(close[1:2])
    assert frames.closing
    assert not frames.between
    frames.feed(close[2:])
    assert frames.between
    assert frames.closing


def test_a_length_beyond_all_memory_is_only_a_number() -> None:
    frames = Frames()
    frames.feed(b"\x82\x7f" + b"\x7f" + b"\xff" * 7 + b"x" * 1000)
    assert not frames.between


# -- the tunnel --------------------------------------------------------------------------


@dataclass
class Ride:
    """A tunnel under way. `ask` is before the upstream has answered."""

    client: Client
    dial: FakeDial
    hands: HandClock
    reply: KeptReply = field(default_factory=KeptReply)
    seen: list[ReplyHead] = field(default_factory=list)

    async def ask(self) -> None:
        self.transfer = WebSocketTransfer(self.reply, self._fields)
        self.task = asyncio.ensure_future(
            self.transfer.run(
                self.client,
                ORIGIN,
                ASK,
                self.hands.ticker,
                connect_s=5,
                first_byte_s=FIRST_BYTE_S,
            )
        )
        await settle()

    async def open(self, more: bytes = b"") -> None:
        await self.ask()
        self.upstream.feed(UPGRADE + more)

    def _fields(self, head: ReplyHead) -> list[Pair]:
        self.seen.append(head)
        return [("x-status", str(head.status))]

    @property
    def upstream(self) -> FakeTransport:
        return self.dial.made[-1]

    def sends(self, data: bytes) -> None:
        """The caller sends."""
        assert self.reply.tunnel is not None
        self.reply.tunnel.received(data)

    def later(self, seconds: float) -> None:
        self.transfer.tick(clock.monotonic() + seconds)

    async def ended(self) -> BaseException | None:
        await settle()
        assert self.task.done()
        assert self.client.counts(ORIGIN)[0] == 0
        assert len(self.hands.ticker) == 1  # the client's own
        assert self.reply.source is None
        return None if self.task.cancelled() else self.task.exception()


@pytest.fixture
async def ride(client: Client, dial: FakeDial, hands: HandClock) -> AsyncIterator[Ride]:
    ride = Ride(client, dial, hands)
    yield ride
    ride.task.cancel()
    await settle()


async def test_an_upgrade_opens_a_tunnel_both_ways(ride: Ride) -> None:
    await ride.open()
    assert ride.upstream.written == (
        b"GET /ws HTTP/1.1\r\nhost: box.lan:8000\r\n"
        b"upgrade: websocket\r\nconnection: Upgrade\r\n\r\n"
    )
    assert (ride.reply.status, ride.reply.headers) == (101, [("x-status", "101")])
    ride.upstream.written.clear()
    there, back = frame(b"text", opcode=1, masked=True), frame(b"x" * 70_000)
    ride.sends(there[:3])
    ride.sends(there[3:])
    ride.upstream.feed(back[:5])
    ride.upstream.feed(back[5:])
    assert bytes(ride.upstream.written) == there
    assert bytes(ride.reply.body) == back
    assert (ride.transfer.bytes_in, ride.transfer.bytes_out) == (len(there), len(back))


async def test_a_proxy_between_is_asked_for_a_tunnel(hands: HandClock) -> None:
    proxy, seen, reply = OutboundProxy(), list[Message](), KeptReply()
    async with (
        Client(hands.ticker) as client,
        listening(proxy) as proxy_port,
        listening(answering(UPGRADE + frame(b"hi"), seen)) as port,
    ):
        through = f"http://me:secret@{HOST}:{proxy_port}"
        origin = Origin("http", HOST, port, proxy=through)
        transfer = WebSocketTransfer(reply, lambda _: [])
        opened = asyncio.ensure_future(
            transfer.run(client, origin, ASK, hands.ticker, connect_s=5, first_byte_s=5)
        )
        await until(lambda: reply.body or opened.done(), "a frame")
        opened.cancel()
        await asyncio.wait([opened])
    assert (reply.status, bytes(reply.body)) == (101, frame(b"hi"))
    [asked] = proxy.seen
    assert (asked.method, asked.target) == ("CONNECT", f"{HOST}:{port}")
    assert asked.header("proxy-authorization") is not None
    assert seen[0].target == "/ws"
    assert seen[0].header("proxy-authorization") is None


async def test_frames_that_come_with_the_upgrade_are_passed_on(ride: Ride) -> None:
    await ride.open(frame(b"hello"))
    assert bytes(ride.reply.body) == frame(b"hello")


async def test_the_upstreams_close_ends_the_tunnel(ride: Ride) -> None:
    await ride.open()
    ride.upstream.feed(frame(b"\x03\xe8", opcode=8))
    ride.upstream.lose()
    assert await ride.ended() is None
    assert ride.reply.ended
    assert bytes(ride.reply.body) == frame(b"\x03\xe8", opcode=8)


async def test_the_callers_going_closes_the_upstream(ride: Ride) -> None:
    await ride.open()
    assert ride.reply.tunnel is not None
    ride.reply.tunnel.closed()
    assert await ride.ended() is None
    assert ride.upstream.aborted


async def test_a_cancelled_tunnel_closes_the_upstream(ride: Ride) -> None:
    await ride.open()
    ride.task.cancel()
    await ride.ended()
    assert ride.upstream.aborted


async def test_each_side_is_paused_while_the_other_takes_no_more(ride: Ride) -> None:
    await ride.open()
    ride.reply.hold()
    assert not ride.upstream.reading
    ride.reply.go_on()
    assert ride.upstream.reading
    ride.upstream.block()
    assert ride.reply.tunnel_paused
    ride.upstream.unblock()
    assert not ride.reply.tunnel_paused


# -- refusals and failures ---------------------------------------------------------


async def test_a_refusal_is_relayed_as_it_is(ride: Ride) -> None:
    await ride.ask()
    ride.upstream.feed(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nn")
    ride.upstream.feed(b"o")
    assert await ride.ended() is None
    assert (ride.reply.status, ride.reply.length) == (403, 2)
    assert bytes(ride.reply.body) == b"no"
    assert ride.reply.ended
    assert ride.client.counts(ORIGIN) == (0, 1), "an ordinary reply keeps it"


async def test_a_refused_connection_in_second_hands_is_left_alone(ride: Ride) -> None:
    await ride.ask()
    ride.upstream.feed(SHORT)
    taken = ride.client.take(ORIGIN)  # before the tunnel's task has run again
    assert taken is not None
    await settle()
    assert ride.task.done()
    assert not ride.upstream.aborted


@pytest.mark.parametrize(
    "wire", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nn"]
)
async def test_half_an_answer_is_a_failure(ride: Ride, wire: bytes) -> None:
    await ride.ask()
    if wire:
        ride.upstream.feed(wire)
    ride.upstream.lose()
    assert isinstance(await ride.ended(), BrokenReply)
    assert not ride.reply.ended


async def test_an_upstream_that_does_not_answer_has_a_limit(ride: Ride) -> None:
    await ride.ask()
    ride.later(FIRST_BYTE_S - 1)
    await settle()
    assert not ride.task.done()
    ride.later(FIRST_BYTE_S + 1)
    error = await ride.ended()
    assert isinstance(error, TimedOut)
    assert error.phase is Phase.FIRST_BYTE
    assert ride.upstream.aborted


async def test_a_refusal_that_stops_half_way_has_a_limit(ride: Ride) -> None:
    await ride.ask()
    ride.upstream.feed(b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nn")
    ride.later(FIRST_BYTE_S - 1)
    await settle()
    assert not ride.task.done()
    ride.later(FIRST_BYTE_S + 1)
    assert isinstance(await ride.ended(), UpstreamFailed)
    assert not ride.reply.ended
    assert ride.upstream.aborted


# -- limits of an open tunnel, and saying goodbye -----------------------------------


async def test_a_silent_tunnel_is_closed_with_a_goodbye(ride: Ride) -> None:
    await ride.open()
    ride.upstream.written.clear()
    ride.later(IDLE_S - 1)
    await settle()
    assert not ride.task.done()
    ride.later(IDLE_S + 1)
    assert await ride.ended() is None
    assert bytes(ride.reply.body) == GOING_AWAY
    assert unmasked(bytes(ride.upstream.written)) == GOING_AWAY
    assert ride.reply.ended


async def test_either_sides_bytes_keep_a_tunnel_open(ride: Ride) -> None:
    await ride.open()
    ride.sends(frame(b"a", masked=True))
    ride.later(IDLE_S - 1)
    ride.upstream.feed(frame(b"b"))
    ride.later(2 * IDLE_S - 2)
    ride.later(3 * IDLE_S - 4)
    await settle()
    assert not ride.task.done()
    ride.later(3 * IDLE_S)
    assert await ride.ended() is None


async def test_no_tunnel_lives_for_ever(ride: Ride) -> None:
    await ride.open()
    for hour in range(24):
        ride.sends(frame(b"ping", opcode=9, masked=True))
        ride.later(hour * 3600)
    await settle()
    assert not ride.task.done()
    ride.sends(frame(b"ping", opcode=9, masked=True))
    ride.later(LIFETIME_S + 1)
    assert await ride.ended() is None


def unmasked(wire: bytes) -> bytes:
    """A short masked frame as it would be without its mask."""
    mask, payload = wire[2:6], wire[6:]
    plain = bytes(b ^ m for b, m in zip(payload, mask * 2, strict=False))
    return bytes([wire[0], wire[1] & 0x7F]) + plain


async def test_goodbye_is_said_between_frames_only(ride: Ride) -> None:
    await ride.open()
    ride.sends(frame(b"half", masked=True)[:-1])
    ride.upstream.feed(frame(b"half")[:-1])
    written, sent = bytes(ride.upstream.written), bytes(ride.reply.body)
    ride.transfer.say_goodbye()
    assert (bytes(ride.upstream.written), bytes(ride.reply.body)) == (written, sent)


async def test_goodbye_is_not_said_to_who_is_already_told(ride: Ride) -> None:
    """An end that has been sent a close frame gets no second one."""
    await ride.open()
    ride.sends(frame(b"\x03\xe8", opcode=8, masked=True))
    ride.upstream.feed(frame(b"\x03\xe8", opcode=8))
    written, sent = bytes(ride.upstream.written), bytes(ride.reply.body)
    ride.transfer.say_goodbye()
    assert (bytes(ride.upstream.written), bytes(ride.reply.body)) == (written, sent)


async def test_goodbye_before_the_upgrade_is_not_said(ride: Ride) -> None:
    await ride.ask()
    before = bytes(ride.upstream.written)
    ride.transfer.say_goodbye()
    assert bytes(ride.upstream.written) == before
    assert not ride.reply.started
