"""WebSockets: passed both ways byte by byte, one record at the end."""

from __future__ import annotations

import asyncio

import pytest

from proxy.core.call import Call
from proxy.core.types import Headers
from proxy.pipeline.upgrade import is_upgrade
from proxy.routing.status import Status
from proxy.server.buffered import WholeBody
from proxy.state.memory_slots import MemorySlots
from tests.parts.caller import Caller
from tests.parts.faulty import Peer, Script
from tests.parts.http_text import Message, whole
from tests.parts.inside import OpenSite, Site
from tests.parts.scripts import answers, ask, error_of, then_close, then_wait
from tests.parts.until import until

WANTS = (
    "connection: keep-alive, Upgrade", "upgrade: WebSocket", "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-protocol: a, b",
)  # fmt: skip
AGREED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    b"sec-websocket-protocol: b\r\nset-cookie: no\r\n\r\n"
)
OPEN = ask("GET", "/lmstudio/llm?a=1", *WANTS)
HELLO = b"\x81\x05hello"
GOING_AWAY = b"\x88\x02\x03\xe9"


class Ends:
    """An upstream's script that agrees, and keeps what comes through."""

    def __init__(self) -> None:
        self.received = b""
        self.peer: Peer | None = None

    async def __call__(self, peer: Peer, request: Message) -> None:
        self.peer = peer
        await peer.send(AGREED + HELLO)
        while True:
            await peer._more.wait()
            peer._more.clear()
            self.received += peer._received
            peer._received.clear()


@pytest.fixture
async def studio(open_site: OpenSite) -> Site:
    return await open_site(provider={"kind": "lmstudio"})


@pytest.fixture
def ends(studio: Site) -> Ends:
    ends = Ends()
    studio.upstream.script = ends
    return ends


def places(site: Site) -> MemorySlots:
    held = site.runtime.state.slots
    assert isinstance(held, MemorySlots)
    return held


async def opened(studio: Site) -> Caller:
    caller = await studio.caller()
    caller.send(OPEN)
    reply = await caller.reply()
    assert reply.status == 101
    return caller


async def test_the_upgrade_is_agreed_between_the_two_ends(
    studio: Site, ends: Ends
) -> None:
    caller = await studio.caller()
    caller.send(OPEN)
    reply = await caller.reply()
    assert reply.status == 101
    assert reply.header("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert reply.header("sec-websocket-protocol") == "b"
    assert reply.header("upgrade") == "websocket"
    assert (reply.header("connection") or "").lower() == "upgrade"
    assert reply.header("set-cookie") is None
    assert reply.header("x-request-id")
    assert reply.header("x-proxy-provider") == "box"
    [sent] = studio.upstream.requests
    assert sent.start == "GET /llm?a=1 HTTP/1.1"
    assert sent.header("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ=="
    assert sent.header("sec-websocket-protocol") == "a, b"
    assert sent.header("upgrade") == "websocket"
    assert sent.header("connection") == "Upgrade"
    assert (sent.header("via") or "").startswith("1.1 local-ai-")
    assert await caller.until(HELLO) == HELLO


async def test_bytes_pass_both_ways_and_are_recorded_at_the_end(
    studio: Site, ends: Ends
) -> None:
    caller = await opened(studio)
    await caller.until(HELLO)
    caller.send(b"\x81\x85maskxxxxx")
    await until(lambda: ends.received == b"\x81\x85maskxxxxx", "the caller's frame")
    assert not studio.records
    assert studio.runtime.pipeline.active == 1
    caller.leave()
    record = await studio.record()
    assert (record.status, record.code, record.operation) == (101, None, "pass_through")
    assert (record.bytes_in, record.bytes_out) == (11, 7)
    assert record.provider == "box"
    assert record.ended_at is not None
    assert studio.runtime.pipeline.active == 0
    assert [p.active for p in studio.runtime.registry.providers] == [0]


async def test_frames_sent_with_the_request_arrive(studio: Site, ends: Ends) -> None:
    caller = await studio.caller()
    caller.send(OPEN + b"early")
    await until(lambda: ends.received == b"early", "what came with the request")


@pytest.mark.parametrize("farewell", ["leave", "finish"])
async def test_a_caller_who_goes_closes_the_upstreams_side(
    studio: Site, ends: Ends, farewell: str
) -> None:
    caller = await opened(studio)
    getattr(caller, farewell)()
    await studio.record()
    assert ends.peer is not None
    async with asyncio.timeout(1):
        await ends.peer.gone.wait()


async def test_an_upstream_that_goes_closes_the_callers_side(
    studio: Site, ends: Ends
) -> None:
    caller = await opened(studio)
    assert ends.peer is not None
    ends.peer.close()
    assert await caller.rest() == HELLO
    assert (await studio.record()).status == 101


async def test_who_reads_slowly_holds_the_other_end(studio: Site, ends: Ends) -> None:
    caller = await opened(studio)
    caller.stop_reading()
    assert ends.peer is not None
    transport = ends.peer._require()
    flood = b"\x82\x7f" + (400 << 16).to_bytes(8, "big") + bytes(400 << 16)
    transport.write(flood)
    await until(lambda: ends.peer is not None and ends.peer.held, "a held upstream")
    await studio.settle()
    assert studio.records == []
    waiting = transport.get_write_buffer_size()
    assert waiting > 1 << 20
    caller.read_on()
    reading = asyncio.ensure_future(caller.rest())
    await until(lambda: transport.get_write_buffer_size() == 0, "all taken")
    transport.close()
    assert len(await reading) == len(HELLO + flood)


async def test_a_refusal_comes_back_as_it_is(studio: Site) -> None:
    studio.upstream.script = answers(whole(b'{"no":1}', status=403))
    caller = await studio.caller()
    caller.send(OPEN)
    reply = await caller.reply()
    assert (reply.status, reply.body) == (403, b'{"no":1}')
    record = await studio.record()
    assert record.status == 403


async def test_a_broken_answer_is_an_upstream_error(studio: Site) -> None:
    studio.upstream.script = then_close(b"nonsense\r\n\r\n")
    reply = await studio.ask(OPEN)
    assert reply.status == 502
    assert error_of(reply)["code"] == "upstream_error"


async def test_a_silent_upstream_is_a_timeout(studio: Site) -> None:
    studio.upstream.script = then_wait(b"")
    caller = await studio.caller()
    caller.send(OPEN)
    await studio.busy_peer()
    studio.later(601)
    reply = await caller.reply()
    assert reply.status == 504
    assert error_of(reply)["code"] == "upstream_timeout"


@pytest.mark.parametrize("seconds", [3601, 25 * 3600])
async def test_a_quiet_or_very_old_tunnel_ends_politely(
    studio: Site, ends: Ends, seconds: int
) -> None:
    caller = await opened(studio)
    await caller.until(HELLO)
    studio.later(seconds)
    assert await caller.rest() == HELLO + GOING_AWAY
    assert (await studio.record()).status == 101


async def test_a_tunnel_is_told_when_the_gateway_stops(open_site: OpenSite) -> None:
    ends = Ends()
    site = await open_site(
        ends, provider={"kind": "lmstudio"}, server={"drainSeconds": 0}
    )
    caller = await opened(site)
    await site.drain()
    assert await caller.rest() == HELLO + GOING_AWAY
    assert ends.received[:2] == b"\x88\x82"
    assert bytes(
        a ^ b for a, b in zip(ends.received[6:], ends.received[2:6], strict=False)
    ) == b"\x03\xe9"  # fmt: skip
    assert (await site.record()).status == 101


async def test_a_tunnel_holds_its_callers_place_until_it_closes(
    open_site: OpenSite,
) -> None:
    site = await open_site(
        Ends(),
        provider={"kind": "lmstudio"},
        rateLimits={"default": {"concurrent": 1}},
    )
    caller = await opened(site)
    refused = await site.ask(OPEN)
    assert (refused.status, error_of(refused)["code"]) == (429, "rate_limit_exceeded")
    caller.leave()
    await until(lambda: not site.runtime.active, "the end of the tunnel")
    assert len(places(site)) == 0
    await opened(site)
    assert len(places(site)) == 1


@pytest.mark.parametrize(
    "script",
    [
        answers(whole(b"{}", status=403)),
        then_close(b"nonsense\r\n\r\n"),
        then_close(b""),
    ],
    ids=["refused", "nonsense", "closed"],
)
async def test_a_tunnel_that_does_not_open_gives_its_place_back(
    open_site: OpenSite, script: Script
) -> None:
    site = await open_site(
        script,
        provider={"kind": "lmstudio"},
        rateLimits={"default": {"concurrent": 1}},
    )
    for _ in range(2):
        assert (await site.ask(OPEN)).status in (403, 502)
    await until(lambda: not site.runtime.active, "the end of all")
    assert len(places(site)) == 0


async def test_a_realtime_session_holds_a_place_too(open_site: OpenSite) -> None:
    site = await open_site(Ends(), rateLimits={"default": {"concurrent": 1}})
    session = ask("GET", "/v1/realtime?model=tiny", *WANTS)
    caller = await site.caller()
    caller.send(session)
    assert (await caller.reply()).status == 101
    assert (await site.ask(session)).status == 429
    await site.drain()
    assert len(places(site)) == 0


async def test_a_foreign_page_opens_none(studio: Site, ends: Ends) -> None:
    reply = await studio.ask(
        ask("GET", "/lmstudio/llm", *WANTS, "origin: https://evil.example")
    )
    assert reply.status == 403
    assert not studio.upstream.requests


async def test_an_owners_socket_is_the_owners(studio: Site, ends: Ends) -> None:
    wants = (*WANTS, "x-forwarded-for: 1.2.3.4")
    reply = await studio.ask(ask("GET", "/lmstudio/system", *wants))
    assert reply.status == 403
    assert not studio.upstream.requests


async def test_realtime_goes_to_the_models_provider(open_site: OpenSite) -> None:
    first = {"id": "a-first", "kind": "vllm", "endpoint": "http://127.0.0.1:9",
             "priority": 1}  # fmt: skip
    site = await open_site(Ends(), others=[first])
    caller = await site.caller()
    caller.send(ask("GET", "/v1/realtime?model=tiny", *WANTS))
    assert (await caller.reply()).header("x-proxy-provider") == "box"


async def test_a_tunnel_that_cannot_be_opened_tells_of_the_provider(
    studio: Site,
) -> None:
    studio.upstream.die()
    assert (await studio.ask(OPEN)).status == 502
    assert studio.runtime.registry.providers[0].status is Status.OFFLINE


def call(method: str, **fields: str) -> Call:
    return Call("r", None, "forward", method, "/", "/", "", {}, Headers(fields.items()),
                "", False, WholeBody(b""), 0.0)  # fmt: skip


def test_what_an_upgrade_is() -> None:
    assert is_upgrade(call("GET", upgrade="websocket", connection="Upgrade"))
    assert is_upgrade(call("GET", upgrade=" WebSocket", connection="a, upgrade"))
    assert not is_upgrade(call("POST", upgrade="websocket", connection="Upgrade"))
    assert not is_upgrade(call("GET", upgrade="h2c", connection="Upgrade"))
    assert not is_upgrade(call("GET", upgrade="websocket"))
    assert not is_upgrade(call("GET"))
