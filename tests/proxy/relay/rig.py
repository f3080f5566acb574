"""A transfer and all that it touches: no sockets, and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from providers.wire.dialect import Dialect, Framing
from providers.wire.holds import hold_for
from providers.wire.watches import watch_for
from proxy.core.call import Reply
from proxy.core.clock import Ticker, monotonic
from proxy.core.types import Pair
from proxy.relay.client import Client, Outgoing
from proxy.relay.head import ReplyHead
from proxy.relay.modes import Events, Gathered, Mode, Plain
from proxy.relay.origin import Origin
from proxy.relay.transfer import Limits, Transfer
from tests.fakes.hand_clock import HandClock
from tests.fakes.reply import KeptReply
from tests.fakes.transport import FakeDial, FakeTransport

ORIGIN = Origin("http", "box.lan", 8000)
LIMITS = Limits(connect_s=5, write_s=10, first_byte_s=100, idle_s=30, whole_s=None)
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
LONG_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
POST = Outgoing("POST", "/", [], b"{}")


async def settle() -> None:
    """Let everything run that can run without the world's doing something."""
    for _ in range(10):
        await asyncio.sleep(0)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def gathered(_: ReplyHead, __: KeptReply) -> Mode:
    return Gathered(1 << 20, None)


def plain(head: ReplyHead, reply: KeptReply) -> Mode:
    reply.start(head.status, [], head.length)
    return Plain(reply)


def by_events(head: ReplyHead, reply: KeptReply) -> Mode:
    reply.start(head.status, [], None)
    watch = watch_for(Dialect.CHAT, Framing.SSE, withhold_usage=False, terminated=True)
    return Events(reply, hold_for(Framing.SSE, 1 << 16), watch)


class Chosen(Transfer):
    """A transfer whose mode a function chooses."""

    def __init__(
        self,
        reply: Reply,
        limits: Limits,
        choose: Callable[[ReplyHead], Mode],
        ticker: Ticker,
        now: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(reply, limits, ticker, now)
        self._choose = choose

    def mode_for(self, head: ReplyHead) -> Mode:
        return self._choose(head)


@dataclass
class Moved:
    """What came of a transfer."""

    head: ReplyHead
    body: bytes | None
    trailers: tuple[Pair, ...]


@dataclass
class Ride:
    """A transfer under way, and all that it touches."""

    transfer: Transfer
    reply: KeptReply
    task: asyncio.Task[bytes | None] = field(init=False)

    async def moved(self) -> Moved:
        """What came of it; it must need nothing more from the world."""
        await settle()
        assert self.task.done()
        body, head = self.task.result(), self.transfer.head
        assert head is not None
        return Moved(head, body, self.transfer.trailers)

    async def failure(self) -> BaseException | None:
        await settle()
        assert self.task.done()
        return self.task.exception()


@dataclass
class Rig:
    client: Client
    dial: FakeDial
    hands: HandClock
    rides: list[Ride] = field(default_factory=list)

    def start(
        self,
        mode: Callable[[ReplyHead, KeptReply], Mode] = plain,
        out: Outgoing = POST,
        limits: Limits = LIMITS,
    ) -> Ride:
        """Begin without letting anything run."""
        reply = KeptReply()
        transfer = Chosen(
            reply, limits, lambda h: mode(h, reply), self.hands.ticker, self.hands
        )
        ride = Ride(transfer, reply)
        ride.task = asyncio.ensure_future(transfer.run(self.client, ORIGIN, out))
        self.rides.append(ride)
        return ride

    async def begin(
        self,
        mode: Callable[[ReplyHead, KeptReply], Mode] = plain,
        out: Outgoing = POST,
        limits: Limits = LIMITS,
    ) -> Ride:
        """Begin, until it waits for the upstream."""
        ride = self.start(mode, out, limits)
        await settle()
        return ride

    async def warm(self, count: int = 1) -> None:
        """Leave that many idle connections in the pool."""
        rides = [await self.begin(gathered) for _ in range(count)]
        for ride, transport in zip(rides, self.dial.made, strict=True):
            transport.feed(SHORT)
            await ride.moved()
        assert self.counts == (0, count)

    @property
    def upstream(self) -> FakeTransport:
        return self.dial.made[-1]

    @property
    def counts(self) -> tuple[int, int]:
        return self.client.counts(ORIGIN)

    def is_clean(self) -> bool:
        """Nothing is left of any transfer but idle connections."""
        return (
            self.counts[0] == 0
            and len(self.hands.ticker) == 1  # the client's own
            and all(ride.reply.source is None for ride in self.rides)
        )


@dataclass
class Upload:
    """A body that comes piece by piece as the test says."""

    pieces: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self.pieces.get()) is not None:
            yield piece
