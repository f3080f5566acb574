"""Streams pass by events, untouched, and never look complete when they are not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.parts.faulty import Peer
from tests.parts.http_text import (
    LAST_CHUNK,
    Message,
    chunk,
    data_of,
    event_stream_head,
    events,
    post,
)
from tests.parts.inside import (
    CHAT,
    MESSAGES,
    RESPONSES,
    OpenSite,
    Site,
)
from tests.parts.scripts import (
    DONE,
    EVENT,
    STREAM,
    USAGE,
    answers,
    stream,
    then_close,
    then_wait,
)


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
        (
            b'event: response.created\ndata: {"type":"response.created",'
            b'"sequence_number":0,"response":{"id":"resp_1","object":"response"}}\n\n'
        ),
        (
            b'event: response.completed\ndata: {"type":"response.completed",'
            b'"sequence_number":1,"response":{"id":"resp_1","object":"response",'
            b'"status":"completed"}}\n\n'
        ),
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


@pytest.mark.parametrize("path", ENDINGS)
async def test_a_terminator_that_was_cut_is_none(site: Site, path: str) -> None:
    """Though HTTP says that the body is whole, and the event has begun to say its name."""
    begin, end = ENDINGS[path]
    for cut in (8, len(end) - 4):
        site.upstream.script = answers(stream(begin, end[:cut]))
        reply = await site.ask(post(path, STREAM))
        assert b"upstream_stream_broken" in reply.body
        assert end.strip() not in reply.body.removesuffix(DONE)


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


async def test_a_stream_compressed_unasked_is_refused(site: Site) -> None:
    packed = stream(EVENT, DONE).replace(
        b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n", 1
    )
    site.upstream.script = answers(packed)
    reply = await site.ask(post(CHAT, STREAM))
    assert reply.status == 502
    assert b"compressed" in reply.body
    assert (await site.record()).code == "upstream_error"
