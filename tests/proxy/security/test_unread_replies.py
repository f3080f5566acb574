"""A caller that asks and does not read costs one reply, not all it can ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.parts.http_text import post, whole
from tests.parts.inside import CHAT, Site, run_site
from tests.parts.scripts import BODY, answers
from tests.parts.until import until

# Small enough to be here in one read: larger ones are held back at the upstream.
LARGE = b'{"large":"' + b"x" * (100 << 10) + b'"}'
ASKED = 400


@pytest.fixture(params=["fast door", "ordinary door"])
async def hasty(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A gateway with large replies that waits for nobody long."""
    limits = {"idleKeepAliveSeconds": 0.2}
    fast = request.param == "fast door"
    async with run_site(answers(whole(LARGE)), fast=fast, server=limits) as site:
        yield site


def connections(site: Site) -> list[web.RequestHandler]:
    assert site.runner.server is not None
    return site.runner.server.connections


def unread(site: Site) -> bool:
    return any(handler.writing_paused for handler in connections(site))


def unsent_bytes(handler: web.RequestHandler) -> int:
    transport = handler.transport
    return 0 if transport is None else transport.get_write_buffer_size()


async def test_requests_wait_while_their_caller_does_not_read(site: Site) -> None:
    site.upstream.script = answers(whole(LARGE))
    caller = await site.caller()
    caller.stop_reading()
    caller.send(post(CHAT, BODY) * ASKED)
    await until(lambda: unread(site), "a reply nobody reads")
    for _ in range(20):
        await site.settle()
    assert len(site.upstream.requests) < ASKED
    assert max(map(unsent_bytes, connections(site))) < 4 * len(LARGE)
    caller.read_on()
    for _ in range(ASKED):
        assert (await caller.reply()).body == LARGE


async def test_who_reads_nothing_is_dropped(hasty: Site) -> None:
    caller = await hasty.caller()
    caller.stop_reading()
    caller.send(post(CHAT, BODY) * ASKED)
    await until(lambda: unread(hasty), "a reply nobody reads")
    await until(lambda: not connections(hasty), "nobody is connected")
    assert len(hasty.upstream.requests) < ASKED


@pytest.mark.parametrize("fields", [(), ("connection: close",)])
async def test_who_leaves_a_page_unread_is_dropped(
    hasty: Site, fields: tuple[str, ...]
) -> None:
    caller = await hasty.caller()
    caller.stop_reading()
    lines = ("GET /errors HTTP/1.1", "host: 127.0.0.1", "", "")
    last = ("GET /errors HTTP/1.1", "host: 127.0.0.1", *fields, "", "")
    caller.send("\r\n".join(lines).encode() * 4000 + "\r\n".join(last).encode())
    await until(lambda: unread(hasty), "a page nobody reads")
    await until(lambda: not connections(hasty), "nobody is connected")
