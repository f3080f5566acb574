from __future__ import annotations

import asyncio

import pytest

from proxy.core.call import Call, Reply
from proxy.pipeline.spine import Pipeline
from proxy.routes import ROUTES
from proxy.server.fast import FastHandler
from tests.bench import heads
from tests.parts.http_text import Message, chunk, event_stream_head, post, whole
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site
from tests.parts.scripts import answers
from tests.parts.until import until

BODY = b'{"model":"tiny","messages":[{"role":"user","content":"hi"}]}'
REQUEST = post(CHAT, BODY)
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
DONE = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


@pytest.fixture
async def site(open_site: OpenSite) -> Site:
    return await open_site(fast=True)


def doors(site: Site) -> dict[tuple[bool, str], int]:
    return {
        key: tally.count
        for key, tally in site.runtime.metrics._counts.doors.items()
        if tally.count
    }


@pytest.mark.parametrize("name", sorted(p.stem for p in heads.FOLDER.glob("*.http")))
async def test_requests_of_sdks_are_taken_split_at_every_byte(
    open_site: OpenSite, name: str
) -> None:
    kind = "ollama" if name.startswith("ollama") else "vllm"
    site = await open_site(fast=True, provider={"kind": kind})
    request = heads.head(name, "127.0.0.1", BODY) + BODY
    caller = await site.caller()
    cuts = [*range(1, len(request)), len(request)]
    for cut in cuts:
        caller.send(request[:cut])
        await asyncio.sleep(0)
        if cut < len(request):
            caller.send(request[cut:])
        reply = await caller.reply()
        assert reply.status == 200
    assert doors(site) == {(True, "hot"): len(cuts)}


async def test_both_doors_make_the_same_calls(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, object]] = []

    async def keep(_: Pipeline, call: Call, reply: Reply, *_cancel: object) -> None:
        made.append(await told(call))
        reply.whole(200, (), b"{}")

    monkeypatch.setattr(Pipeline, "run", keep)
    fields = "x-request-id: mine", "x-odd:  spaced \t", "x-odd-too: \xe4:"
    callers = [await (await open_site(fast=fast)).caller() for fast in (True, False)]
    for target in [target for route in ROUTES for target in route.hot]:
        for caller in callers:
            caller.send(post(target, BODY, *fields))
            await caller.reply()
        fast, ordinary = made
        assert fast == ordinary
        assert fast["target"] == target
        made.clear()


async def told(call: Call) -> dict[str, object]:
    """What a call says of its request, its own id, clock and length field aside."""
    fields = "client_request_id", "operation", "method", "path", "target", "query"
    return {name: getattr(call, name) for name in (*fields, "peer", "secure")} | {
        "params": dict(call.params),
        "headers": [pair for pair in call.headers if pair[0] != "content-length"],
        "length": call.body.length,
        "body": await call.body.read(1 << 20),
    }


async def test_one_byte_at_a_time(site: Site) -> None:
    caller = await site.caller()
    for at in range(len(REQUEST)):
        caller.send(REQUEST[at : at + 1])
        await asyncio.sleep(0)
    assert (await caller.reply()).status == 200
    assert doors(site) == {(True, "hot"): 1}


async def test_pipelined_requests_are_answered_in_order(site: Site) -> None:
    bodies = [b'{"n":%d}' % number for number in range(20)]
    site.upstream.script = answers(*map(whole, bodies))
    caller = await site.caller()
    caller.send(REQUEST * 20)
    assert [(await caller.reply()).body for _ in bodies] == bodies
    assert doors(site) == {(True, "hot"): 20}


async def test_an_unusual_request_goes_to_the_other_door_bytes_untouched(
    site: Site,
) -> None:
    caller = await site.caller()
    caller.send(REQUEST)
    assert (await caller.reply()).status == 200
    caller.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert (await caller.reply()).body == b'{"status":"ok"}'
    caller.send(REQUEST)  # and the connection stays there
    assert (await caller.reply()).status == 200
    assert doors(site) == {(True, "hot"): 1, (False, "path"): 1}


async def test_an_unusual_request_behind_a_call_waits_for_its_reply(
    site: Site,
) -> None:
    caller = await site.caller()
    caller.send(REQUEST + b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert (await caller.reply()).body == COMPLETION
    assert (await caller.reply()).body == b'{"status":"ok"}'


async def test_a_body_too_large_is_refused_by_the_other_door(
    open_site: OpenSite,
) -> None:
    site = await open_site(fast=True, server={"maxBodyBytes": 100})
    reply = await site.ask(post(CHAT, b"x" * 101))
    assert reply.status == 413
    assert doors(site) == {(False, "size"): 1}


async def test_a_slow_head_and_a_slow_body_are_refused(open_site: OpenSite) -> None:
    limits = {"headTimeoutSeconds": 0.05, "bodyIdleSeconds": 0.05}
    for part in (REQUEST[:30], REQUEST[:-1]):
        site = await open_site(fast=True, server=limits)
        caller = await site.caller()
        caller.send(part)
        assert (await caller.last()).status == 408


async def test_a_caller_who_sends_on_during_a_stream_is_held_back(
    site: Site,
) -> None:
    go_on = asyncio.Event()

    async def stream(peer: object, request: Message) -> None:
        await peer.send(event_stream_head())  # type: ignore[attr-defined]
        await go_on.wait()
        await peer.send(DONE)  # type: ignore[attr-defined]

    site.upstream.script = stream
    caller = await site.caller()
    streamed = post(CHAT, BODY.replace(b"{", b'{"stream":true,', 1))
    caller.send(streamed)
    await site.busy_peer()
    [handler] = site.runner.server.connections  # type: ignore[union-attr]
    caller.send(b"x" * (1 << 20))
    await until(lambda: handler._buffer_paused, "reading is paused")
    assert handler._pieces.size < 1 << 19
    go_on.set()
    await caller.reply()


async def test_who_leaves_before_the_body_is_whole_opens_no_passage(
    open_site: OpenSite,
) -> None:
    site = await open_site(fast=True, provider={"kind": "ollama"})
    caller = await site.caller()
    caller.send(post("/ollama/api/chat", BODY)[:-5])
    await site.settle()
    caller.leave()
    record = await site.record()
    assert (record.status, record.code) == (499, "client_closed_request")
    assert record.bytes_in == len(BODY) - 5
    assert not site.upstream.requests
    assert doors(site)[(True, "hot")] == 1


# -- what aiohttp does for a connection ---------------------------------------------


def connection_of(site: Site) -> FastHandler:
    assert site.runner.server is not None
    (connection,) = site.runner.server.connections
    assert isinstance(connection, FastHandler)
    return connection


async def test_it_has_a_task_once_something_is_left_to_aiohttp(site: Site) -> None:
    caller = await site.caller()
    caller.send(REQUEST)
    assert (await caller.reply()).status == 200
    assert connection_of(site)._task_handler is None
    for _ in range(2):
        caller.send(HEALTH)
        assert (await caller.reply()).status == 200
        assert connection_of(site)._task_handler is not None


@pytest.mark.parametrize("sent", [b"", HEALTH, b"GET /hea", REQUEST])
async def test_what_comes_while_we_close_holds_nobody_up(
    site: Site, sent: bytes
) -> None:
    caller = await site.caller()
    caller.send(REQUEST)
    assert (await caller.reply()).status == 200
    connection, server = connection_of(site), site.runner.server
    assert server is not None
    server.pre_shutdown()
    connection.data_received(sent)
    async with asyncio.timeout(1):
        await server.shutdown(60)
        await caller.rest()


async def test_what_is_left_as_we_close_holds_nobody_up(site: Site) -> None:
    caller = await site.caller()
    caller.send(REQUEST)
    assert (await caller.reply()).status == 200
    connection, server = connection_of(site), site.runner.server
    assert server is not None
    connection.data_received(b"GET /healthz HTTP/1.1\r\nhost: a")
    server.pre_shutdown()
    async with asyncio.timeout(1):
        await server.shutdown(60)
        assert await caller.rest() == b""
