"""Transfers over real sockets: what no transport of our own can pretend."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import cast

import pytest

from proxy.core.clock import Ticker
from proxy.relay.client import Client, Outgoing
from proxy.relay.errors import BrokenReply, CallerStalled, TimedOut
from proxy.relay.head import ReplyHead
from proxy.relay.modes import Mode
from proxy.relay.origin import Origin
from proxy.relay.transfer import Limits, Transfer
from tests.fakes.hand_clock import HandClock
from tests.fakes.reply import KeptReply
from tests.parts.http_text import chunk, event_stream_head, whole
from tests.parts.listening import Serve, hang, listening, read_request
from tests.parts.ports import HOST
from tests.proxy.relay.rig import (
    DONE,
    EVENT,
    LIMITS,
    POST,
    Chosen,
    by_events,
    plain,
    settle,
)

BIG = 32 << 20


class Told(KeptReply):
    """A reply that says when the caller was sent something."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def write(self, data: bytes) -> None:
        super().write(data)
        self.written.set()


@pytest.fixture
async def client(hands: HandClock) -> AsyncIterator[Client]:
    async with Client(hands.ticker, hands) as opened:
        yield opened


def transfer(reply: KeptReply, hands: HandClock, mode: object = plain) -> Transfer:
    assert callable(mode)

    def mode_for(head: ReplyHead) -> Mode:
        chosen: Mode = mode(head, reply)
        return chosen

    return Chosen(reply, LIMITS, mode_for, hands.ticker, hands)


async def test_an_event_is_passed_on_before_the_next_is_made(
    client: Client, hands: HandClock
) -> None:
    seen = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(event_stream_head() + chunk(EVENT))
        await seen.wait()
        writer.write(chunk(EVENT + DONE) + b"0\r\n\r\n")

    reply = Told()
    async with listening(serve) as port:
        moving = asyncio.ensure_future(
            transfer(reply, hands, by_events).run(
                client, Origin("http", HOST, port), POST
            )
        )
        await reply.written.wait()
        assert bytes(reply.body) == EVENT
        seen.set()
        await moving
    assert bytes(reply.body) == EVENT + EVENT + DONE


async def test_a_reset_is_no_end(client: Client, hands: HandClock) -> None:
    seen = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nends with the connection?")
        await seen.wait()
        link = writer.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    reply = Told()
    async with listening(serve) as port:
        moving = asyncio.ensure_future(
            transfer(reply, hands).run(client, Origin("http", HOST, port), POST)
        )
        await reply.written.wait()
        seen.set()
        with pytest.raises(BrokenReply):
            await moving
    assert not reply.ended


async def test_a_slow_caller_holds_a_real_upstream_back(
    client: Client, hands: HandClock
) -> None:
    """Its bytes wait on its own side, not in our memory."""
    unsent: list[int] = []
    sent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        writer.write(bytes(BIG))
        await settle()
        unsent.append(writer.transport.get_write_buffer_size())
        sent.set()
        await writer.drain()

    reply = Told()
    reply.hold()
    async with listening(serve) as port:
        moving = asyncio.ensure_future(
            transfer(reply, hands).run(client, Origin("http", HOST, port), POST)
        )
        await sent.wait()
        await settle()
        assert unsent[0] > BIG // 2
        assert len(reply.body) < BIG // 2
        reply.go_on()
        await moving
    assert len(reply.body) == BIG


async def test_a_caller_that_reads_nothing_costs_the_upstream_its_connection(
    client: Client, hands: HandClock
) -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(event_stream_head() + chunk(EVENT))
        await hang(reader, writer)
        gone.set()

    reply = Told()
    async with listening(serve) as port:
        moving = asyncio.ensure_future(
            transfer(reply, hands).run(client, Origin("http", HOST, port), POST)
        )
        await reply.written.wait()
        reply.hold()
        hands.pass_by(0.25)
        hands.pass_by(LIMITS.idle_s + 1)
        with pytest.raises(CallerStalled):
            await moving
        await gone.wait()


@pytest.mark.parametrize(
    "came", [b"", event_stream_head(), event_stream_head() + EVENT]
)
async def test_a_cancelled_transfer_is_noticed_by_the_upstream(
    client: Client, hands: HandClock, came: bytes
) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(came)
        asked.set()
        await hang(reader, writer)
        gone.set()

    async with listening(serve) as port:
        origin = Origin("http", HOST, port)
        moving = asyncio.ensure_future(
            transfer(Told(), hands).run(client, origin, POST)
        )
        await asked.wait()
        await settle()
        moving.cancel()
        await gone.wait()
        assert client.counts(origin) == (0, 0)


async def test_an_upstream_that_takes_no_request_runs_into_the_write_limit(
    client: Client, hands: HandClock
) -> None:
    here = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cast(asyncio.Transport, writer.transport).pause_reading()
        here.set()
        await asyncio.Event().wait()

    async with listening(serve) as port:
        out = Outgoing("POST", "/", [], bytes(BIG))
        moving = asyncio.ensure_future(
            transfer(Told(), hands).run(client, Origin("http", HOST, port), out)
        )
        await here.wait()
        hands.pass_by(0.25)
        while not moving.done():  # what still trickles into the kernel is progress
            await settle()
            hands.pass_by(LIMITS.write_s + 1)
        with pytest.raises(TimedOut) as caught:
            await moving
    assert caught.value.phase == "write"


async def test_what_a_server_closed_meanwhile_is_asked_again_on_a_new_connection(
    client: Client, hands: HandClock
) -> None:
    """As servers do that drop idle connections after a few seconds."""
    served: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        served.append(1)
        writer.write(whole(b"hi"))
        # Leaves at once: the next request may meet a connection that is closing.

    async with listening(serve) as port:
        origin = Origin("http", HOST, port)
        for number in range(1, 30):
            reply = KeptReply()
            await transfer(reply, hands).run(client, origin, POST)
            assert bytes(reply.body) == b"hi"
            assert len(served) == number


async def test_a_defect_in_choosing_a_mode_fails_only_its_transfer(
    client: Client, hands: HandClock
) -> None:
    def choose(head: ReplyHead, reply: KeptReply) -> Mode:
        raise KeyError(head.status)

    loop = asyncio.get_running_loop()
    reported: list[str] = []
    loop.set_exception_handler(lambda _, context: reported.append(context["message"]))

    async with listening(once(whole(b"hi"))) as port:
        origin = Origin("http", HOST, port)
        with pytest.raises(KeyError):
            await transfer(Told(), hands, choose).run(client, origin, POST)
        assert client.counts(origin) == (0, 1)
    async with listening(once(event_stream_head())) as port:
        origin = Origin("http", HOST, port)
        with pytest.raises(BrokenReply):
            await transfer(Told(), hands, choose).run(client, origin, POST)
        assert client.counts(origin) == (0, 0)
    assert len(reported) == 1


def once(reply: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(reply)
        await hang(reader, writer)

    return serve


async def test_the_ticker_ends_a_transfer_without_anybodys_help() -> None:
    """The one test that lets real time pass, a quarter of a second of it."""
    limits = Limits(connect_s=5, write_s=5, first_byte_s=0.01, idle_s=5, whole_s=None)
    async with listening(hang) as port, Ticker() as ticker, Client(ticker) as client:
        moving = Chosen(
            KeptReply(), limits, lambda _: pytest.fail("no head came"), ticker
        )
        async with asyncio.timeout(20):
            with pytest.raises(TimedOut):
                await moving.run(client, Origin("http", HOST, port), POST)
