"""Replies: whole ones held, streams by events, failures in the catalogue's words."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.parts.faulty import Peer, Script
from tests.parts.http_text import (
    LAST_CHUNK,
    Message,
    chunk,
    data_of,
    event_stream_head,
    events,
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
    answers,
)

BODY = b'{"model":"tiny","messages":[]}'
STREAM = b'{"model":"tiny","messages":[],"stream":true}'
EVENT = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
USAGE = (
    b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,'
    b'"prompt_tokens_details":{"cached_tokens":2}}}\n\n'
)
DONE = b"data: [DONE]\n\n"
MEGABYTE = 1 << 20


def stream(*pieces: bytes, end: bytes = LAST_CHUNK) -> bytes:
    return event_stream_head() + b"".join(map(chunk, pieces)) + end


def then_close(data: bytes) -> Script:
    async def play(peer: Peer, request: Message) -> None:
        await peer.send(data)
        peer.close()

    return play


def then_wait(data: bytes) -> Script:
    async def play(peer: Peer, request: Message) -> None:
        await peer.send(data)
        await peer.wait(asyncio.Event())

    return play


def error_of(reply: Message) -> Any:
    return json.loads(reply.body)["error"]


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


async def test_a_reply_of_another_type_is_given_as_it_is(site: Site) -> None:
    for kind, body in (("audio/mpeg", bytes(range(256))), ("text/plain", b"\xff")):
        site.upstream.script = answers(whole(body, kind=kind))
        reply = await site.ask(post(CHAT, BODY))
        assert (reply.status, reply.body) == (200, body)
        assert reply.header("content-type") == kind


async def test_an_upstream_of_http_1_0_ends_with_its_connection(site: Site) -> None:
    old = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + COMPLETION
    site.upstream.script = then_close(old)
    assert (await site.ask(post(CHAT, BODY))).body == COMPLETION


# -- what the upstream refuses --------------------------------------------------------


REFUSAL = (
    b'{ "error": {"message":"too long","type":"odd_type","code":"context_length",'
    b'"param":"messages[0]", "extra":1}}'
)


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
        (503, b'{"error":{"message":"Loading model"}}', "model_loading", 503),
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


# -- streams --------------------------------------------------------------------------------


async def test_a_stream_passes_untouched_but_for_what_we_asked(site: Site) -> None:
    with_choices = USAGE.replace(b'"choices":[]', b'"choices":[{"index":0}]')
    odd = b": comment\n\nevent: odd\r\nid: 7\r\ndata: {\r\ndata: }\r\n\r\n"
    site.upstream.script = answers(stream(EVENT, odd, with_choices, USAGE, DONE))
    reply = await site.ask(post(CHAT, STREAM))
    assert reply.body == EVENT + odd + with_choices + DONE
    record = await site.record()
    assert (record.prompt_tokens, record.completion_tokens) == (3, 5)
    assert (record.cached_tokens, record.usage_source) == (2, "upstream")
    assert record.stream
    assert record.code is None


async def test_usage_without_choices_at_all_is_withheld_too(site: Site) -> None:
    bare = b'data: {"usage":{"prompt_tokens":3,"completion_tokens":5}}\n\n'
    site.upstream.script = answers(stream(EVENT, bare, DONE))
    assert (await site.ask(post(CHAT, STREAM))).body == EVENT + DONE
    assert (await site.record()).completion_tokens == 5


async def test_usage_the_caller_asked_for_is_given(site: Site) -> None:
    asked = STREAM[:-1] + b',"stream_options":{"include_usage":true}}'
    site.upstream.script = answers(stream(EVENT, USAGE, DONE))
    assert (await site.ask(post(CHAT, asked))).body == EVENT + USAGE + DONE


async def test_a_null_usage_is_nobodys_secret(site: Site) -> None:
    empty = b'data: {"id":"c1","choices":[],"usage":null}\n\n'
    site.upstream.script = answers(stream(empty, EVENT, DONE))
    assert (await site.ask(post(CHAT, STREAM))).body == empty + EVENT + DONE


async def test_what_has_come_is_written_up_to_the_last_boundary(site: Site) -> None:
    released = asyncio.Event()

    async def play(peer: Peer, request: Message) -> None:
        await peer.send(event_stream_head() + chunk(EVENT + EVENT[:20]))
        await peer.wait(released)
        await peer.send(chunk(EVENT[20:]) + chunk(DONE) + LAST_CHUNK)

    site.upstream.script = play
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    received = await caller.until(EVENT)
    assert received.count(b"data:") == 1
    released.set()
    assert (await caller.reply()).body == EVENT + EVENT + DONE


ENDINGS: dict[str, tuple[bytes, bytes]] = {
    CHAT: (EVENT, DONE),
    "/v1/completions": (b'data: {"choices":[{"text":"x"}]}\n\n', DONE),
    MESSAGES: (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"m"}}\n\n',
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ),
    RESPONSES: (
        b'event: response.created\ndata: {"type":"response.created",'
        b'"sequence_number":0,"response":{"id":"resp_1","object":"response"}}\n\n',
        b'event: response.completed\ndata: {"type":"response.completed",'
        b'"sequence_number":1,"response":{"id":"resp_1","object":"response",'
        b'"status":"completed"}}\n\n',
    ),
}


@pytest.mark.parametrize("path", ENDINGS)
async def test_a_stream_with_its_terminator_is_complete(site: Site, path: str) -> None:
    begin, end = ENDINGS[path]
    site.upstream.script = answers(stream(begin, end))
    reply = await site.ask(post(path, STREAM))
    assert reply.body == begin + end
    assert (await site.record()).code is None


@pytest.mark.parametrize("ending", [LAST_CHUNK, b""])
@pytest.mark.parametrize("path", ENDINGS)
async def test_a_broken_stream_never_looks_complete(
    site: Site, path: str, ending: bytes
) -> None:
    begin, end = ENDINGS[path]
    play = stream(begin, begin[:9], end=ending)
    site.upstream.script = answers(play) if ending else then_close(play)
    reply = await site.ask(post(path, STREAM, "x-request-id: mine"))
    assert reply.complete
    first, last, *done = events(reply.body)
    assert first == begin
    assert end not in reply.body.removesuffix(DONE)
    document: Any = data_of(last)
    if path == MESSAGES:
        assert last.startswith(b"event: error\n")
        assert document["type"] == "error"
        error = document["error"]
        assert document["request_id"] == "mine"
    elif path == RESPONSES:
        assert last.startswith(b"event: response.failed\n")
        assert document["response"]["id"] == "resp_1"
        assert document["response"]["status"] == "failed"
        assert document["sequence_number"] == 1
        error = document["response"]["error"]
    else:
        assert done == [DONE]
        error = document["error"]
    assert error["code"] == "upstream_stream_broken"
    assert "mine" in error["message"]
    record = await site.record()
    assert (record.status, record.code) == (200, "upstream_stream_broken")


async def test_the_upstreams_own_error_event_ends_its_stream(site: Site) -> None:
    error = b'data: {"error":{"message":"ran out","code":500}}\n\n'
    site.upstream.script = answers(stream(EVENT, error))
    reply = await site.ask(post(CHAT, STREAM))
    assert reply.body == EVENT + error
    assert (await site.record()).code == "upstream_error"


async def test_an_event_that_is_too_large_ends_the_stream(open_site: OpenSite) -> None:
    async def endless(peer: Peer, request: Message) -> None:
        await peer.send(event_stream_head() + chunk(EVENT + b"data: "))
        while True:
            await peer.send(chunk(b"x" * 500))
            await asyncio.sleep(0)

    site = await open_site(endless, stream={"maxEventBytes": 1000})
    reply = await site.ask(post(CHAT, STREAM))
    first, last, done = events(reply.body)
    assert (first, done) == (EVENT, DONE)
    document: Any = data_of(last)
    assert document["error"]["code"] == "upstream_stream_broken"
    assert "stream.maxEventBytes" in document["error"]["message"]


async def test_a_stream_that_pauses_too_long_is_broken(site: Site) -> None:
    site.upstream.script = then_wait(stream(EVENT, end=b""))
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    await caller.until(EVENT)
    site.later(121)
    reply = await caller.reply()
    *_, last, done = events(reply.body)
    document: Any = data_of(last)
    assert document["error"]["code"] == "upstream_timeout"
    assert done == DONE


@pytest.mark.parametrize("operation", ["speech", "transcriptions"])
async def test_a_stream_without_a_known_terminator_ends_when_http_says(
    open_site: OpenSite, operation: str
) -> None:
    """Such as OpenAI's speech: its last event is one of its own."""
    body = b'data: {"type":"transcript.text.done","text":"hi"}\n\n'
    site = await open_site(answers(stream(body)), provider={"kind": "openai"})
    if operation == "speech":
        request = post("/v1/audio/speech", b'{"model":"tiny","stream":true}')
    else:
        request = post(
            "/v1/audio/transcriptions",
            b'--X\r\ncontent-disposition: form-data; name="model"\r\n\r\ntiny\r\n--X--\r\n',
        ).replace(b"application/json", b"multipart/form-data; boundary=X")
    reply = await site.ask(request)
    assert reply.complete
    assert reply.body == body
    assert (await site.record()).code is None
    site.upstream.script = then_close(stream(body, end=b""))
    caller = await site.caller()
    caller.send(request)
    broken = await caller.last()
    assert broken.body == body
    assert not broken.complete


# -- keep-alives ----------------------------------------------------------------------------


COMMENT = b": keep-alive\n\n"


async def waiting_for(site: Site, released: asyncio.Event, then: bytes) -> Any:
    """A caller whose stream's upstream says nothing until it is released."""

    async def play(peer: Peer, request: Message) -> None:
        await peer.wait(released)
        await peer.send(then)

    site.upstream.script = play
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    await site.busy_peer()
    return caller


async def test_a_stream_that_waits_is_committed_and_kept_alive(site: Site) -> None:
    released = asyncio.Event()
    caller = await waiting_for(site, released, stream(EVENT, DONE))
    site.later(14)
    site.later(2)
    await caller.until(COMMENT)
    site.later(15)
    released.set()
    reply = await caller.reply()
    assert reply.status == 200
    assert reply.body == COMMENT * 2 + EVENT + DONE
    assert reply.header("content-type") == "text/event-stream"
    assert reply.header("cache-control") == "no-cache, no-transform"
    assert reply.header("x-accel-buffering") == "no"
    assert reply.header("x-request-id")
    assert (await site.record()).code is None


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (whole(REFUSAL, status=400), "context_length"),
        (whole(b"no", status=401), "upstream_auth_failed"),
        (whole(b"no", status=429), "upstream_rate_limited"),
        (whole(b"no", status=500), "upstream_error"),
        (whole(COMPLETION), "upstream_error"),
        (whole(b'{"a":1}\n', kind="application/x-ndjson"), "upstream_error"),
        (head(302, "location: /x", "content-length: 0"), "upstream_error"),
        (b"nonsense\r\n\r\n", "upstream_error"),
    ],
)
async def test_what_is_refused_after_that_comes_in_band(
    site: Site, answer: bytes, code: str
) -> None:
    released = asyncio.Event()
    caller = await waiting_for(site, released, answer)
    site.later(16)
    await caller.until(COMMENT)
    released.set()
    reply = await caller.reply()
    assert reply.status == 200
    assert reply.complete
    comment, last, done = events(reply.body)
    assert (comment, done) == (COMMENT, DONE)
    document: Any = data_of(last)
    assert document["error"]["code"] == code
    record = await site.record()
    assert record.status == 200
    assert record.code is not None


async def test_a_timeout_after_that_comes_in_band_too(site: Site) -> None:
    caller = await waiting_for(site, asyncio.Event(), b"")
    site.later(16)
    await caller.until(COMMENT)
    site.later(600)
    reply = await caller.reply()
    *_, last, done = events(reply.body)
    document: Any = data_of(last)
    assert document["error"]["code"] == "upstream_timeout"
    assert done == DONE


async def test_before_the_headers_it_can_be_turned_off(open_site: OpenSite) -> None:
    site = await open_site(stream={"keepAliveBeforeHeaders": False})
    released = asyncio.Event()
    caller = await waiting_for(site, released, whole(b"no", status=500))
    site.later(100)
    released.set()
    assert (await caller.reply()).status == 502


async def test_a_reply_that_is_no_stream_gets_no_comments(site: Site) -> None:
    released = asyncio.Event()
    body = b'{"x":"' + b"y" * (9 * MEGABYTE) + b'"}'

    async def play(peer: Peer, request: Message) -> None:
        await peer.send(whole(body)[:-2])
        await peer.wait(released)
        await peer.send(whole(body)[-2:])

    site.upstream.script = play
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    await caller.until(b"yyyy")
    site.later(16)
    released.set()
    assert (await caller.reply()).body == body


async def test_who_asked_for_no_stream_gets_no_comments(site: Site) -> None:
    released = asyncio.Event()

    async def play(peer: Peer, request: Message) -> None:
        await peer.wait(released)
        await peer.send(whole(COMPLETION))

    site.upstream.script = play
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    await site.busy_peer()
    site.later(100)
    released.set()
    assert (await caller.reply()).body == COMPLETION


async def test_between_events_comments_go_out_too(site: Site) -> None:
    released = asyncio.Event()

    async def play(peer: Peer, request: Message) -> None:
        await peer.send(event_stream_head() + chunk(EVENT + EVENT[:10]))
        await peer.wait(released)
        await peer.send(chunk(EVENT[10:] + DONE) + LAST_CHUNK)

    site.upstream.script = play
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    await caller.until(EVENT)
    site.later(16)
    await caller.until(COMMENT)
    released.set()
    assert (await caller.reply()).body == EVENT + COMMENT + EVENT + DONE
