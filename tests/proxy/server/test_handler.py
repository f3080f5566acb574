"""Connections: slow, broken, half closed, left; and what HTTP forbids."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import pytest

from tests.parts.faulty import Peer
from tests.parts.http_text import Message, chunk, event_stream_head, post, whole
from tests.parts.inside import CHAT, COMPLETION, MESSAGES, Site, run_site
from tests.parts.until import until

BODY = b'{"model":"tiny","messages":[]}'
ASK = post(CHAT, BODY)
SHORT_S = 0.1
EVENT = b'data: {"choices":[{"index":0}]}\n\n'


@pytest.fixture(params=["fast door", "ordinary door"])
async def hasty(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A gateway that waits for nothing long."""
    limits = {
        "headTimeoutSeconds": SHORT_S,
        "bodyIdleSeconds": SHORT_S,
        "idleKeepAliveSeconds": 2 * SHORT_S,
    }
    async with run_site(fast=request.param == "fast door", server=limits) as site:
        yield site


def code_of(reply: Message) -> str:
    return str(json.loads(reply.body)["error"]["code"])


# -- slow callers --------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 3, 30, len(ASK) - len(BODY) - 1])
async def test_a_head_that_does_not_come_is_not_waited_for(
    hasty: Site, cut: int
) -> None:
    caller = await hasty.caller()
    caller.send(ASK[:cut])
    reply = await caller.last()
    assert reply.status == 408
    assert code_of(reply) == "request_timeout"
    assert reply.header("connection") == "close"
    assert reply.header("x-request-id")
    assert not hasty.upstream.requests


async def test_a_head_that_trickles_is_not_waited_for_either(hasty: Site) -> None:
    caller = await hasty.caller()

    async def trickle() -> None:
        for at in range(len(ASK)):
            caller.send(ASK[at : at + 1])
            await asyncio.sleep(SHORT_S / 5)

    trickling = asyncio.ensure_future(trickle())
    reply = await caller.last()
    trickling.cancel()
    assert reply.status == 408


async def test_the_second_head_on_a_connection_has_its_time_too(hasty: Site) -> None:
    caller = await hasty.caller()
    caller.send(ASK)
    assert (await caller.reply()).status == 200
    caller.send(ASK[:20])
    assert (await caller.last()).status == 408


@pytest.mark.parametrize(
    "path", [CHAT, MESSAGES, "/v1/brand-new", "/providers/box/pooling"]
)
@pytest.mark.parametrize("sent", [0, 5])
async def test_a_body_that_does_not_come_is_not_waited_for(
    hasty: Site, path: str, sent: int
) -> None:
    request = post(path, BODY, "x-request-id: mine")
    caller = await hasty.caller()
    caller.send(request[: len(request) - len(BODY) + sent])
    reply = await caller.reply()
    assert reply.status == 408
    document = json.loads(reply.body)
    assert document["error"].get("code") == "request_timeout"
    assert ("type" in document) == (path == MESSAGES)
    assert reply.header("x-request-id") == "mine"
    assert reply.header("connection") == "close"
    record = await hasty.record()
    assert (record.status, record.code) == (408, "request_timeout")
    assert record.bytes_in == sent


async def test_a_body_that_comes_slowly_is_waited_for(hasty: Site) -> None:
    caller = await hasty.caller()
    caller.send(ASK[: -len(BODY)])
    for at in range(0, len(BODY), 4):
        caller.send(BODY[at : at + 4])
        await asyncio.sleep(SHORT_S / 4)
    assert (await caller.reply()).body == COMPLETION


async def test_an_idle_connection_is_closed(hasty: Site) -> None:
    caller = await hasty.caller()
    caller.send(ASK)
    assert (await caller.reply()).status == 200
    assert await caller.rest() == b""


async def test_one_that_never_says_anything_is_closed(hasty: Site) -> None:
    assert await (await hasty.caller()).rest() == b""


async def test_small_writes_leave_at_once_and_dead_callers_are_found(
    site: Site,
) -> None:
    caller = await site.caller()
    caller.send(ASK)
    assert (await caller.reply()).status == 200
    assert site.runner.server is not None
    (connection,) = site.runner.server.connections
    assert connection.transport is not None
    sock = connection.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_a_call_that_takes_long_is_not_idle(hasty: Site) -> None:
    async def late(peer: Peer, request: Message) -> None:
        await asyncio.sleep(3 * SHORT_S)
        await peer.send(whole(COMPLETION))

    hasty.upstream.script = late
    caller = await hasty.caller()
    caller.send(ASK)
    assert (await caller.reply()).body == COMPLETION
    caller.send(ASK)
    assert (await caller.reply()).body == COMPLETION


# -- what is no HTTP --------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nhost: 127.0.0.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost : 127.0.0.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx: a\0b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n folded: 1\r\n\r\n",
        b"GET /heal\0thz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        ASK.replace(b"content-length: 30", b"content-length: 3x"),
        ASK.replace(b"content-length: 30", b"content-length: -30"),
        ASK.replace(b"content-length: 30", b"content-length: 30\r\ncontent-length: 31"),
        ASK.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n", 1),
        ASK.replace(b"content-length: 30", b"transfer-encoding: chunked, chunked"),
        ASK.replace(b"content-length: 30", b"transfer-encoding: gzip"),
    ],
)
async def test_what_is_not_http_is_told_so_and_closed(site: Site, sent: bytes) -> None:
    caller = await site.caller()
    caller.send(sent)
    reply = await caller.last()
    assert reply.status in (400, 408, 501)
    assert (
        reply.header(
            "content-type",
        )
        == "application/json"
    )
    assert code_of(reply) == "invalid_field"
    assert reply.header("x-request-id")
    assert b"Traceback" not in reply.raw
    assert not site.upstream.requests


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"x" * (17 << 10) + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        ASK.replace(b"host:", b"x-long: " + b"x" * (33 << 10) + b"\r\nhost:"),
        ASK.replace(b"host:", b"x: y\r\n" * 200 + b"host:"),
    ],
)
async def test_a_head_that_is_too_large_is_refused(site: Site, sent: bytes) -> None:
    caller = await site.caller()
    caller.send(sent)
    reply = await caller.last()
    assert reply.status in (400, 431)
    assert code_of(reply) == "invalid_field"
    assert not site.upstream.requests


async def test_a_broken_chunk_is_the_callers_fault(site: Site) -> None:
    caller = await site.caller()
    caller.send(ASK.replace(b"content-length: 30\r\n", b"transfer-encoding: chunked\r\n")
                .replace(BODY, b"zz\r\n"))  # fmt: skip
    reply = await caller.last()
    assert reply.status == 400
    assert code_of(reply) == "invalid_field"
    assert not site.upstream.requests


async def test_a_second_request_cannot_be_hidden_in_a_body(site: Site) -> None:
    inner = post(CHAT, BODY, "x-request-id: hidden")
    caller = await site.caller()
    caller.send(post(CHAT, b"{" + inner) + ASK)
    assert (await caller.reply()).status == 400
    assert (await caller.reply()).body == COMPLETION
    assert len(site.records) == 2
    assert len(site.upstream.requests) == 1


# -- unread bodies -------------------------------------------------------------------


async def test_a_connection_with_an_unread_body_is_not_used_again(site: Site) -> None:
    hidden = post(CHAT, BODY, "x-request-id: hidden")
    caller = await site.caller()
    caller.send(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: evil.example\r\n"
        b"content-length: 100000000\r\n\r\n" + hidden
    )
    reply = await caller.reply()
    assert reply.status == 403
    assert reply.header("connection") == "close"
    assert not site.upstream.requests


async def test_the_reply_reaches_a_caller_who_is_still_sending(site: Site) -> None:
    caller = await site.caller()
    caller.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
                b"content-length: 100000000\r\n\r\n")  # fmt: skip
    for _ in range(64):
        caller.send(bytes(1 << 16))
    reply = await caller.reply()
    assert reply.status == 413
    assert code_of(reply) == "body_too_large"


async def test_an_expected_continue_comes_when_the_body_is_wanted(site: Site) -> None:
    caller = await site.caller()
    request = post(CHAT, BODY, "expect: 100-continue")
    caller.send(request[: -len(BODY)])
    assert (await caller.reply()).start == "HTTP/1.1 100 Continue"
    caller.send(BODY)
    assert (await caller.reply()).body == COMPLETION


async def test_an_unwanted_body_is_not_invited(site: Site) -> None:
    caller = await site.caller()
    request = post(CHAT, BODY, "expect: 100-continue", "origin: https://evil.example")
    caller.send(request[: -len(BODY)])
    assert (await caller.reply()).status == 403


async def test_who_does_not_wait_for_the_continue_is_served(site: Site) -> None:
    caller = await site.caller()
    caller.send(post(CHAT, BODY, "Expect: 100-Continue"))
    first = await caller.reply()
    reply = await caller.reply() if first.status == 100 else first
    assert reply.body == COMPLETION


async def test_a_chunked_body_is_the_same_body(site: Site) -> None:
    framed = b"".join(chunk(BODY[at : at + 7]) for at in range(0, len(BODY), 7))
    caller = await site.caller()
    caller.send(ASK.replace(b"content-length: 30\r\n", b"transfer-encoding: chunked\r\n")
                .replace(BODY, framed + b"0\r\nx-trailer: 1\r\n\r\n") + ASK)  # fmt: skip
    assert (await caller.reply()).body == COMPLETION
    assert (await caller.reply()).body == COMPLETION
    first, second = site.upstream.requests
    assert first.body == second.body == BODY
    assert first.header("content-length") == "30"
    assert site.records[0].bytes_in == 30


# -- callers who go ----------------------------------------------------------------------


async def silent(peer: Peer, request: Message) -> None:
    await peer.wait(asyncio.Event())


async def streaming(peer: Peer, request: Message) -> None:
    await peer.send(event_stream_head() + chunk(EVENT))
    await peer.wait(asyncio.Event())


async def halfway(peer: Peer, request: Message) -> None:
    await peer.send(whole(COMPLETION)[:-5])
    await peer.wait(asyncio.Event())


async def in_a_head(peer: Peer, request: Message) -> None:
    await peer.send(event_stream_head()[:20])
    await peer.wait(asyncio.Event())


async def without_a_body(peer: Peer, request: Message) -> None:
    await peer.send(event_stream_head())
    await peer.wait(asyncio.Event())


@pytest.mark.parametrize("farewell", ["leave", "finish"])
@pytest.mark.parametrize(
    "script", [silent, in_a_head, without_a_body, streaming, halfway]
)
async def test_the_upstream_is_left_at_once(
    site: Site, script: object, farewell: str
) -> None:
    site.upstream.script = script  # type: ignore[assignment]
    caller = await site.caller()
    stream = b'{"model":"tiny","messages":[],"stream":true}'
    caller.send(post(CHAT, BODY if script is halfway else stream))
    peer = await site.busy_peer()
    if script is streaming:
        await caller.until(EVENT)
    getattr(caller, farewell)()
    async with asyncio.timeout(1):
        await peer.gone.wait()
    record = await site.record()
    assert (record.status, record.code) == (499, "client_closed_request")
    assert record.provider == "box"
    assert site.runtime.pipeline.active == 0
    assert [provider.active for provider in site.runtime.registry.providers] == [0]


async def test_who_leaves_while_a_body_passes_through_closes_the_upstream(
    site: Site,
) -> None:
    caller = await site.caller()
    caller.send(b"POST /v1/files HTTP/1.1\r\nhost: 127.0.0.1\r\n"
                b"content-length: 100\r\n\r\nhalf")  # fmt: skip
    await until(lambda: site.upstream.peers, "a connection to the upstream")
    caller.leave()
    async with asyncio.timeout(1):
        await site.upstream.peers[0].gone.wait()
    record = await site.record()
    assert (record.status, record.code) == (499, "client_closed_request")
    assert record.bytes_in == 4


@pytest.mark.parametrize("farewell", ["leave", "finish"])
async def test_who_leaves_before_the_body_is_whole_is_recorded_and_asks_nothing(
    site: Site, farewell: str
) -> None:
    caller = await site.caller()
    caller.send(ASK[:-5])
    await site.settle()
    getattr(caller, farewell)()
    record = await site.record()
    assert (record.status, record.code) == (499, "client_closed_request")
    assert (record.path, record.bytes_in) == (CHAT, len(BODY) - 5)
    assert not site.upstream.requests
    assert site.runtime.pipeline.active == 0


async def test_who_leaves_within_a_head_leaves_nothing(site: Site) -> None:
    caller = await site.caller()
    caller.send(ASK[:30])
    await until(lambda: site.runner.server.connections, "a caller")  # type: ignore[union-attr]
    caller.leave()
    await until(lambda: not site.runner.server.connections, "nobody")  # type: ignore[union-attr]
    assert not site.records


async def test_who_leaves_with_requests_sent_ahead_takes_them_along(site: Site) -> None:
    site.upstream.script = silent
    caller = await site.caller()
    caller.send(ASK * 3)
    peer = await site.busy_peer()
    caller.leave()
    async with asyncio.timeout(1):
        await peer.gone.wait()
    await until(lambda: not site.runner.server.connections, "nobody")  # type: ignore[union-attr]
    assert len(site.upstream.requests) == 1
    assert [record.status for record in site.records] == [499]
