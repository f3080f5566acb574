"""Bodies are kept as callers sent and got them, through a whole gateway."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from proxy.accounting.bodies import LONGEST_BYTES
from tests.parts.http_text import chunk, event_stream_head, head, post, whole
from tests.parts.inside import CHAT, MESSAGES, OpenSite, Site
from tests.parts.owner import told
from tests.parts.scripts import (
    BODY,
    DONE,
    EVENT,
    STREAM,
    answers,
    ask,
    stream,
    then_close,
    then_wait,
)
from tests.parts.until import until

ANSWER = b'{"object":"chat.completion","choices":[{"index":0}]}'
ON = {"logging": {"requestLog": {"bodies": True}}}
OpenKept = Callable[..., Awaitable[Site]]


@pytest.fixture(params=[True, False], ids=["fast door", "ordinary door"])
def open_kept(request: pytest.FixtureRequest, open_site: OpenSite) -> OpenKept:
    """Open a gateway that keeps bodies."""

    async def open_(*replies: bytes, **options: Any) -> Site:
        script = answers(*(replies or (whole(ANSWER),)))
        options = {**ON, **options}
        return await open_site(script, fast=request.param, records=True, **options)

    return open_


async def kept(site: Site) -> Any:
    """The bodies of the last request, as the owner is told."""
    await until(lambda: not site.runtime.active, "the end of the request")
    records = site.runtime.records
    assert records is not None
    assert await records.ledger.drain()
    assert await records.bodies.flush()
    last = (await told(site, "GET", "/requests?limit=1"))["requests"][0]
    return (await told(site, "GET", f"/requests/{last['id']}")).get("bodies")


def text(body: bytes) -> dict[str, Any]:
    return {"text": body.decode(), "bytes": len(body), "truncated": False}


async def test_both_are_kept_of_every_request_however_usual(
    open_kept: OpenKept,
) -> None:
    site = await open_kept()
    caller = await site.caller()
    for number in range(3):
        body = BODY.replace(b"[]", b"[%d]" % number)
        caller.send(post(CHAT, body))
        assert (await caller.reply()).body == ANSWER
        assert await kept(site) == {"request": text(body), "reply": text(ANSWER)}


async def test_a_stream_is_kept_as_it_was_sent(open_kept: OpenKept) -> None:
    site = await open_kept(stream(EVENT, EVENT + EVENT, DONE))
    reply = await site.ask(post(CHAT, STREAM))
    assert reply.status == 200
    assert await kept(site) == {"request": text(STREAM), "reply": text(reply.body)}


async def test_a_translated_reply_is_kept_as_its_caller_got_it(
    open_kept: OpenKept,
) -> None:
    site = await open_kept(provider={"kind": "openai-compatible"})
    asked = (
        b'{"model":"tiny","max_tokens":9,"messages":[{"role":"user","content":"x"}]}'
    )
    reply = await site.ask(post(MESSAGES, asked))
    found = await kept(site)
    assert found == {"request": text(asked), "reply": text(reply.body)}


async def test_a_refusal_is_kept_too(open_kept: OpenKept) -> None:
    site = await open_kept()
    reply = await site.ask(post(CHAT, b"{no json"))
    assert reply.status == 400
    assert await kept(site) == {"request": text(b"{no json"), "reply": text(reply.body)}


async def test_what_is_long_is_cut_and_what_is_no_text_comes_in_base64(
    open_kept: OpenKept,
) -> None:
    site = await open_kept(whole(b"\xff\xfe"))
    long = BODY.replace(b"[]", b'["%b"]' % ("ä" * LONGEST_BYTES).encode())
    assert (await site.ask(post("/providers/box/v1/audio/speech", long))).status == 200
    found = await kept(site)
    assert found["reply"] == {"base64": "//4=", "bytes": 2, "truncated": False}
    request = found["request"]
    assert (request["bytes"], request["truncated"]) == (len(long), True)
    assert LONGEST_BYTES - 1 <= len(request["text"].encode()) <= LONGEST_BYTES
    assert long.startswith(request["text"].encode())


async def test_of_who_leaves_is_kept_what_was_sent(open_kept: OpenKept) -> None:
    site = await open_kept()
    site.upstream.script = then_wait(event_stream_head() + chunk(EVENT))
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    await caller.until(EVENT)
    caller.leave()
    await site.record()
    found = await kept(site)
    assert found == {"request": text(STREAM), "reply": text(EVENT)}


async def test_a_broken_stream_is_kept_with_its_last_words(open_kept: OpenKept) -> None:
    site = await open_kept()
    site.upstream.script = then_close(event_stream_head() + chunk(EVENT))
    reply = await site.ask(post(CHAT, STREAM))
    found = await kept(site)
    assert found["reply"] == text(reply.body)
    assert "upstream_stream_broken" in found["reply"]["text"]


async def test_what_passes_through_is_kept_as_it_came(open_kept: OpenKept) -> None:
    site = await open_kept(head(200, "content-length: 2", "x: y") + b"ok")
    zipped = gzip.compress(BODY)
    path = "/providers/box/v1/chat/completions"
    reply = await site.ask(post(path, zipped, "content-encoding: gzip"))
    assert (reply.status, site.upstream.requests[-1].body) == (200, zipped)
    found = await kept(site)
    assert found["request"]["bytes"] == len(zipped)
    assert found["reply"] == text(b"ok")


async def test_no_header_is_kept(open_kept: OpenKept) -> None:
    site = await open_kept()
    await site.ask(post(CHAT, BODY, "authorization: Bearer secret", "x-odd: secret"))
    assert "secret" not in str(await kept(site))


async def test_off_nothing_is_copied_and_a_reload_turns_it_on_and_off(
    open_kept: OpenKept,
) -> None:
    site = await open_kept(logging={})
    assert not site.runtime.express.closed
    assert (await site.ask(post(CHAT, BODY))).status == 200
    assert await kept(site) is None
    for section, is_on in ((ON, True), ({}, False)):
        site.rewrite({**site.content, "logging": {}, **section})
        assert (await site.runtime.reload("test")).ok
        assert site.runtime.express.closed == is_on
        assert (await site.ask(post(CHAT, BODY))).status == 200
        assert (await kept(site) is not None) == is_on


async def test_without_records_there_are_none(open_kept: OpenKept) -> None:
    site = await open_kept(logging={"requestLog": {"bodies": True, "retainDays": 0}})
    assert (await site.ask(post(CHAT, BODY))).status == 200
    assert site.runtime._bodies is None


async def test_a_body_that_comes_bit_by_bit_is_kept_whole(open_kept: OpenKept) -> None:
    site = await open_kept()
    caller = await site.caller()
    caller.send(ask("POST", CHAT, "transfer-encoding: chunked"))
    for piece in (BODY[:7], BODY[7:]):
        caller.send(chunk(piece))
        await site.settle()
    caller.send(b"0\r\n\r\n")
    assert (await caller.reply()).status == 200
    assert (await kept(site))["request"] == text(BODY)
