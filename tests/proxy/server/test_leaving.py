"""Callers who leave while nothing is read from them, as they sent more than is wanted."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest
from aiohttp import web

from proxy.server.leaving import has_left
from tests.parts.caller import Caller
from tests.parts.faulty import Peer, Script
from tests.parts.http_text import Message, event_stream_head, post, whole
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site
from tests.parts.scripts import BODY, EVENT, STREAM, ask, stream, then_wait
from tests.parts.until import until

AHEAD = post(CHAT, BODY) * 400  # more than either door keeps
STARTED = event_stream_head() + stream(EVENT)[len(event_stream_head()) :][:-5]
UPGRADE = ask(
    "GET", "/providers/box/socket", "connection: Upgrade", "upgrade: websocket"
)
AGREED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"
    b"connection: Upgrade\r\n\r\n"
)


@pytest.fixture
def link() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection; the first is ours."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    with ours, theirs:
        yield ours, theirs


async def unread(ours: socket.socket) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    transport.pause_reading()
    return transport


async def test_who_stays_has_not_left(
    link: tuple[socket.socket, socket.socket],
) -> None:
    transport = await unread(link[0])
    assert not has_left(transport)
    link[1].send(b"something")
    assert not has_left(transport)
    transport.abort()


@pytest.mark.parametrize("farewell", ["close", "shut down", "reset"])
async def test_who_goes_has_left_though_its_last_words_are_unread(
    link: tuple[socket.socket, socket.socket], farewell: str
) -> None:
    ours, theirs = link
    transport = await unread(ours)
    theirs.send(b"something")
    if farewell == "shut down":
        theirs.shutdown(socket.SHUT_WR)
    elif farewell == "reset":
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
    else:
        theirs.close()
    await until(lambda: has_left(transport), "the end of the connection")
    transport.abort()


@pytest.mark.parametrize("farewell", ["leave", "finish"])
@pytest.mark.parametrize("script", [then_wait(b""), then_wait(STARTED)])
async def test_the_upstream_is_left_within_a_second(
    site: Site, script: Script, farewell: str
) -> None:
    site.upstream.script = script
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    peer = await site.busy_peer()
    caller.send(AHEAD)
    await until(lambda: is_held_back(site), "a caller who is not read")
    getattr(caller, farewell)()
    await assert_left_within_a_second(site, peer)


async def test_a_caller_who_is_not_read_and_stays_is_served(site: Site) -> None:
    seen = asyncio.Event()

    async def late(peer: Peer, request: Message) -> None:
        if len(site.upstream.requests) == 1:
            await seen.wait()
        await peer.send(whole(COMPLETION))

    site.upstream.script = late
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    await site.busy_peer()
    caller.send(AHEAD)
    await until(lambda: is_held_back(site), "a caller who is not read")
    [handler] = connections(site)
    handler._look_at_caller()  # type: ignore[attr-defined]
    seen.set()
    for _ in range(401):
        assert (await caller.reply()).body == COMPLETION


async def test_who_leaves_a_tunnel_that_is_full_is_noticed(open_site: OpenSite) -> None:
    async def deaf(peer: Peer, request: Message) -> None:
        await peer.send(AGREED)
        peer.stop_reading()
        await peer.wait(asyncio.Event())

    site = await open_site(deaf)
    caller: Caller = await site.caller()
    caller.send(UPGRADE)
    assert (await caller.reply()).status == 101
    # No more than the system takes off the caller's hands: its end must arrive, too.
    while not is_held_back(site):
        caller.send(bytes(1 << 16))
        for _ in range(20):
            await asyncio.sleep(0)
    caller.leave()
    await until(lambda: site.records, "the tunnel's end", timeout_s=1)
    assert site.records[0].status == 101


def connections(site: Site) -> list[web.RequestHandler]:
    assert site.runner.server is not None
    return site.runner.server.connections


def is_held_back(site: Site) -> bool:
    return any(
        handler.transport is not None and not handler.transport.is_reading()
        for handler in connections(site)
    )


async def assert_left_within_a_second(site: Site, peer: Peer) -> None:
    async with asyncio.timeout(1):
        await peer.gone.wait()
    record = await site.record()
    assert (record.status, record.code) == (499, "client_closed_request")
