"""Whole replies are held; failures come in the catalogue's words."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.parts.faulty import Peer, Script
from tests.parts.http_text import (
    Message,
    chunk,
    head,
    post,
    whole,
)
from tests.parts.inside import (
    CHAT,
    COMPLETION,
    MESSAGES,
    RESPONSES,
    OpenSite,
    Site,
)
from tests.parts.scripts import (
    BODY,
    EVENT,
    REFUSAL,
    STREAM,
    answers,
    error_of,
    stream,
    then_close,
    then_wait,
)
from tests.parts.until import until

MEGABYTE = 1 << 20


# -- whole replies -------------------------------------------------------------------


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@pytest.mark.parametrize("framed", ["length", "chunks"])
async def test_a_whole_reply_that_is_cut_short_is_no_reply(
    site: Site, path: str, framed: str
) -> None:
    cut = whole(COMPLETION)[:-5]
    if framed == "chunks":
        fields = ("content-type: application/json", "transfer-encoding: chunked")
        cut = head(200, *fields) + chunk(COMPLETION)
    site.upstream.script = then_close(cut)
    reply = await site.ask(post(path, BODY))
    assert reply.status == 502
    assert error_of(reply)["code"] == "upstream_error"
    assert reply.complete
    assert b"chat.completion" not in reply.body
    record = await site.record()
    assert (record.status, record.code) == (502, "upstream_error")
    assert [a.code for a in record.attempts] == ["upstream_error"]


async def test_a_whole_reply_is_held_until_complete(site: Site) -> None:
    released = asyncio.Event()

    async def in_halves(peer: Peer, request: Message) -> None:
        await peer.send(whole(COMPLETION)[:-5])
        await peer.wait(released)
        await peer.send(whole(COMPLETION)[-5:])

    site.upstream.script = in_halves
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    await site.busy_peer()
    reading = asyncio.ensure_future(caller.until(b"HTTP"))
    await site.settle()
    assert not reading.done()
    released.set()
    await reading
    assert (await caller.reply()).body == COMPLETION


@pytest.mark.parametrize("size", [8 * MEGABYTE, 8 * MEGABYTE + 1])
async def test_eight_megabytes_are_held_and_more_is_streamed(
    site: Site, size: int
) -> None:
    body = b'{"x":"' + b"y" * (size - 8) + b'"}'
    site.upstream.script = then_wait(whole(body + b" ")[:-1])
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    peer = await site.busy_peer()
    if size > 8 * MEGABYTE:
        await caller.until(b"yyyy")
        peer.close()
        reply = await caller.last()
        assert reply.status == 200
        assert not reply.complete
        record = await site.record()
        assert (record.status, record.code) == (200, "upstream_error")
    else:
        await site.settle()
        peer.close()
        assert (await caller.reply()).status == 502


async def test_a_large_reply_arrives_byte_for_byte(site: Site) -> None:
    body = b'{"x":"' + b"y" * (9 * MEGABYTE) + b'"}'
    site.upstream.script = answers(whole(body))
    reply = await site.ask(post(CHAT, BODY))
    assert reply.header("content-length") == str(len(body))
    assert reply.body == body


async def test_a_reply_of_another_type_is_given_as_it_is(open_site: OpenSite) -> None:
    site = await open_site(provider={"kind": "openai-compatible"})
    for kind, body in (("audio/mpeg", bytes(range(256))), ("text/plain", b"\xff")):
        site.upstream.script = answers(whole(body, kind=kind))
        reply = await site.ask(post("/v1/audio/speech", BODY))
        assert (reply.status, reply.body) == (200, body)
        assert reply.header("content-type") == kind


async def test_an_answer_that_should_be_json_is_no_answer_if_it_is_none(
    site: Site,
) -> None:
    for kind, body in (
        ("text/html", b"<html>It works!</html>"),
        ("application/json", COMPLETION[:-9]),
        ("application/json", b""),
    ):
        site.upstream.script = answers(whole(body, kind=kind))
        reply = await site.ask(post(CHAT, BODY))
        assert reply.status == 502
        assert error_of(reply)["code"] == "upstream_error"


async def test_an_upstream_of_http_1_0_ends_with_its_connection(site: Site) -> None:
    old = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + COMPLETION
    site.upstream.script = then_close(old)
    assert (await site.ask(post(CHAT, BODY))).body == COMPLETION


# -- what the upstream refuses --------------------------------------------------------


async def test_the_callers_fault_comes_back_in_the_upstreams_words(site: Site) -> None:
    site.upstream.script = answers(whole(REFUSAL, status=422))
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, reply.body) == (422, REFUSAL)
    record = await site.record()
    assert (record.status, record.code) == (422, "invalid_field")


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"too long"}',
        b'{"object":"error","message":"too long","type":"odd_type","code":400}',
        b'{"detail":"too long"}',
        b'[{"error":{"message":"too long","code":400}}]',
        b"too long",
    ],
)
async def test_it_comes_in_the_callers_dialect(site: Site, body: bytes) -> None:
    site.upstream.script = answers(whole(body, status=400))
    reply = await site.ask(post(CHAT, BODY))
    error = error_of(reply)
    assert reply.status == 400
    assert error["message"] == "too long"
    assert set(error) == {"message", "type", "code", "param"}
    reply = await site.ask(post(MESSAGES, BODY))
    document = json.loads(reply.body)
    assert (reply.status, document["type"]) == (400, "error")
    assert document["error"]["type"] == "invalid_request_error"
    assert document["error"]["message"] == "too long"


async def test_openais_words_are_anthropics_on_anthropics_routes(site: Site) -> None:
    site.upstream.script = answers(whole(REFUSAL, status=404))
    document = json.loads((await site.ask(post(MESSAGES, BODY))).body)
    assert document["type"] == "error"
    assert document["error"] == {
        "type": "not_found_error",
        "message": "too long",
        "code": "context_length",
    }


async def test_anthropics_own_words_stay(site: Site) -> None:
    body = (b'{"type":"error","error":{"type":"invalid_request_error","message":"no"},'
            b'"request_id":"theirs"}')  # fmt: skip
    site.upstream.script = answers(whole(body, status=400))
    reply = await site.ask(post(MESSAGES, BODY))
    assert (reply.status, reply.body) == (400, body)


async def test_an_error_in_a_200_gets_its_real_status(site: Site) -> None:
    body = b'{"error":{"message":"no such thing","code":404}}'
    site.upstream.script = answers(whole(body))
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, reply.body) == (404, body)


async def test_an_answer_with_an_empty_error_is_an_answer(site: Site) -> None:
    body = b'{"error":null,"choices":[{"index":0}]}'
    site.upstream.script = answers(whole(body))
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, reply.body) == (200, body)


@pytest.mark.parametrize(
    ("status", "body", "code", "shown"),
    [
        (401, b'{"error":{"message":"bad key"}}', "upstream_auth_failed", 502),
        (403, b"no", "upstream_auth_failed", 502),
        (402, b"no", "upstream_error", 502),
        (429, b"slow down", "upstream_rate_limited", 429),
        (500, b"oops", "upstream_error", 502),
        (503, b"busy", "upstream_error", 502),
        (301, b"", "upstream_error", 502),
        (302, b"", "upstream_error", 502),
        (307, b"", "upstream_error", 502),
        (308, b"", "upstream_error", 502),
    ],
)
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_the_providers_fault_has_a_code_of_ours(
    site: Site, status: int, body: bytes, code: str, shown: int, path: str
) -> None:
    fields = (f"content-length: {len(body)}", "location: http://10.0.0.1/x")
    site.upstream.script = answers(head(status, *fields) + body)
    reply = await site.ask(post(path, BODY, "x-request-id: mine"))
    assert reply.status == shown
    error = error_of(reply)
    assert error["code"] == code
    assert reply.header("location") is None
    if shown >= 500:
        assert "mine" in error["message"]
    record = await site.record()
    assert (record.status, record.code) == (shown, code)
    assert record.attempts[0].status == status
    assert len(site.upstream.requests) == 1


async def test_a_redirect_is_never_followed(site: Site) -> None:
    there = f"{site.upstream.url}/elsewhere"
    site.upstream.script = answers(
        head(307, f"location: {there}", "content-length: 0"), whole(COMPLETION)
    )
    assert (await site.ask(post(CHAT, BODY))).status == 502
    assert len(site.upstream.requests) == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_an_upstream_error(site: Site, sent: bytes) -> None:
    site.upstream.script = then_close(sent)
    reply = await site.ask(post(CHAT, BODY))
    assert reply.status == 502
    assert error_of(reply)["code"] == "upstream_error"


async def test_an_unreachable_upstream_is_not_located(
    open_site: OpenSite, unused_tcp_port: int
) -> None:
    endpoint = f"http://localhost:{unused_tcp_port}/secret-prefix"
    site = await open_site(provider={"endpoint": endpoint})
    reply = await site.ask(post(CHAT, BODY))
    assert reply.status == 502
    assert error_of(reply)["code"] == "upstream_error"
    for place in (str(unused_tcp_port), "localhost", "secret", "Traceback"):
        assert place not in reply.body.decode()


async def test_a_failing_upstream_tells_nothing_internal(site: Site) -> None:
    said = b"connect to 10.1.2.3:5432 failed, see /var/log/vllm/x.log"
    site.upstream.script = answers(whole(b'{"detail":"%b"}' % said, status=500))
    message = error_of(await site.ask(post(CHAT, BODY)))["message"]
    assert "connect to […] failed" in message
    for place in ("10.1.2.3", "5432", "/var/log"):
        assert place not in message


# -- limits ------------------------------------------------------------------------------


async def test_who_leaves_while_a_connection_is_made_ends_that_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialling, given_up = asyncio.Event(), asyncio.Event()

    async def never(*_: object) -> None:
        dialling.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    monkeypatch.setattr("proxy.relay.pool.dial", never)
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    await dialling.wait()
    caller.leave()
    async with asyncio.timeout(1):
        await given_up.wait()
    record = await site.record()
    assert (record.status, record.code) == (499, "client_closed_request")


async def test_an_upstream_that_takes_no_connection_is_a_timeout(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("proxy.relay.pool.dial", never)
    site = await open_site(provider={"timeouts": {"connect": 0.05}})
    reply = await site.ask(post(CHAT, BODY))
    assert reply.status == 504
    assert "(limit: connect)" in error_of(reply)["message"]


async def test_a_whole_reply_has_a_limit_of_its_own_and_a_stream_none(
    open_site: OpenSite,
) -> None:
    limits = {"whole": 100, "idle": 1000, "firstByte": 1000}
    site = await open_site(provider={"timeouts": limits})
    for request, begin, has_limit in (
        (BODY, whole(COMPLETION)[:-5], True),
        (STREAM, stream(EVENT, end=b""), False),
    ):
        site.upstream.script = then_wait(begin)
        caller = await site.caller()
        caller.send(post(CHAT, request))
        await site.busy_peer()
        await site.settle()
        site.later(101)
        if has_limit:
            reply = await caller.reply()
            assert reply.status == 504
            assert "(limit: whole)" in error_of(reply)["message"]
            await until(lambda: not site.upstream.busy_peers, "a left upstream")
        else:
            await site.settle()
            assert site.runtime.pipeline.active == 1


@pytest.mark.parametrize(
    ("script", "body", "wait_s", "limit"),
    [
        (then_wait(b""), BODY, 601, "first_byte"),
        (then_wait(b""), STREAM, 601, "first_byte"),
        (then_wait(whole(COMPLETION)[:-5]), BODY, 121, "idle"),
    ],
)
async def test_a_late_upstream_is_a_timeout_that_names_its_limit(
    open_site: OpenSite, script: Script, body: bytes, wait_s: int, limit: str
) -> None:
    quiet = {"keepAliveBeforeHeaders": False}
    site = await open_site(script, stream=quiet)
    caller = await site.caller()
    caller.send(post(CHAT, body))
    peer = await site.busy_peer()
    await site.settle()
    site.later(wait_s)
    reply = await caller.reply()
    assert reply.status == 504
    assert error_of(reply)["code"] == "upstream_timeout"
    assert f"(limit: {limit})" in error_of(reply)["message"]
    async with asyncio.timeout(1):
        await peer.gone.wait()
