"""Small requests and replies that would be large or slow, were they believed."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import pytest

from providers.wire.members import MalformedJSON, read_members
from tests.parts.http_text import Message, data_of, events, post, whole
from tests.parts.inside import CHAT, RESPONSES, OpenSite, Site
from tests.parts.scripts import (
    BODY,
    DONE,
    EVENT,
    STREAM,
    answers,
    ask,
    error_of,
    stream,
)

LIMIT = 1 << 20
DEEP = b"[" * 200_000 + b"]" * 200_000
MANY = b",".join(b'"%d":1' % number for number in range(200_000))


async def alive(site: Site) -> bool:
    return (await site.ask(ask("GET", "/healthz"))).status == 200


# -- JSON ---------------------------------------------------------------------------

JSON_BOMBS = {
    "deep arrays": b'{"model":"tiny","messages":' + DEEP + b"}",
    "deep and open": b'{"model":"tiny","messages":' + b"[" * 400_000,
    "deep objects": b'{"model":"tiny","x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    "many members": b'{"model":"tiny",' + MANY + b"}",
    "many members, spaced": b'{"model":"tiny",' + MANY.replace(b":", b": ") + b"}",
    "many members, one odd": b'{"model":"tiny","\\ud800":1,' + MANY + b"}",
    "a few too many": json.dumps(dict.fromkeys(["model", *map(str, range(1000))])).encode(),
    "one member many times": b'{"model":"tiny"' + b',"a":1' * 200_000 + b"}",
    "a key twice": b'{"model":"tiny","model":"other"}',
    "a key twice, escaped": b'{"model":"tiny","mod\\u0065l":"other"}',
    "a key twice, surrogates": b'{"model":"tiny","\\ud800":1,"\\ud801":1,"\\ud800":2}',
    "a stream twice": b'{"model":"tiny","stream":false,"\\u0073tream":true}',
    "not a number": b'{"model":"tiny","x":NaN}',
    "infinite": b'{"model":"tiny","x":-Infinity}',
    "another encoding": '{"model":"tiny"}'.encode("utf-16"),
    "overlong": b'{"model":"tiny","x":"\xc0\xaf"}',
    "surrogates as bytes": b'{"model":"tiny","x":"\xed\xa0\x80"}',
    "something behind": b'{"model":"tiny"}{"model":"other"}',
    "a comment": b'{"model":"tiny"/*,"model":"other"*/}',
}  # fmt: skip


@pytest.mark.parametrize("name", JSON_BOMBS)
async def test_odd_json_is_refused_and_nothing_is_sent(site: Site, name: str) -> None:
    reply = await site.ask(post(CHAT, JSON_BOMBS[name]))
    assert (reply.status, error_of(reply)["code"]) == (400, "invalid_json")
    assert len(reply.body) < 1000
    assert not site.upstream.requests
    assert await alive(site)


def test_too_many_members_cost_no_memory() -> None:
    body = JSON_BOMBS["many members"]
    tracemalloc.start()
    try:
        with pytest.raises(MalformedJSON, match="more than"):
            read_members(body)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < len(body) / 4


FIELD_BOMBS = {
    "a number of a megabyte": b"1" * LIMIT,
    "a float beyond all": b"1e999999999",
    "half a pair": b'"\\ud800"',
    "deep": b"[" * 900 + b"]" * 900,
    "an object": b'{"tiny":1}',
    "true": b"true",
}


@pytest.mark.parametrize("name", FIELD_BOMBS)
@pytest.mark.parametrize("field", ["model", "stream", "stream_options"])
async def test_odd_values_are_the_callers_fault(
    site: Site, field: str, name: str
) -> None:
    members = {"model": b'"tiny"', "stream": b"true", field: FIELD_BOMBS[name]}
    body = b",".join(b'"%b":%b' % (n.encode(), v) for n, v in members.items())
    reply = await site.ask(post(CHAT, b"{" + body + b"}"))
    if (field, name) not in {("stream", "true"), ("stream_options", "an object")}:
        assert reply.status == 400
        assert error_of(reply)["param"] in (field, None)
        assert len(reply.body) < 1000
    assert await alive(site)


async def test_stream_options_hold_a_key_once(site: Site) -> None:
    odd = STREAM[:-1] + b',"stream_options":{"a":1,"a":2}}'
    reply = await site.ask(post(CHAT, odd))
    assert (reply.status, error_of(reply)["code"]) == (400, "invalid_field")
    assert error_of(reply)["param"] == "stream_options"


async def test_a_long_name_is_told_shortly(site: Site) -> None:
    for name in ("x" * LIMIT, "tiny/" * 100_000, "\u202e" * 100_000, "tinz"):
        reply = await site.ask(post(CHAT, json.dumps({"model": name}).encode()))
        assert (reply.status, error_of(reply)["code"]) == (404, "model_not_found")
        assert len(reply.body) < 2000
    assert all(len(line) < 1000 for line in site.log.read_text().splitlines())


# -- compressed ----------------------------------------------------------------------


def bare(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


BLANK = b'{"model":"tiny","x":"' + b" " * (8 * LIMIT) + b'"}'
COMPRESSED: dict[str, tuple[str, bytes, int]] = {
    "gzip": ("gzip", gzip.compress(BLANK), 413),
    "x-gzip": ("X-GZIP", gzip.compress(BLANK), 413),
    "deflate": ("deflate", zlib.compress(BLANK), 413),
    "deflate without a frame": ("deflate", bare(BLANK), 413),
    "twice": ("gzip", gzip.compress(gzip.compress(BLANK)), 400),
    "twice, said": ("gzip, gzip", gzip.compress(gzip.compress(BLANK)), 415),
    "two members": ("gzip", gzip.compress(BODY) + gzip.compress(BODY), 400),
    "something behind": ("gzip", gzip.compress(BODY) + b"x", 400),
    "cut short": ("gzip", gzip.compress(BODY)[:-4], 400),
    "another coding": ("br", BODY, 415),
    "no such coding": ("gzip;q=1", gzip.compress(BODY), 415),
    "nothing": ("gzip", b"", 400),
}  # fmt: skip


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", COMPRESSED)
async def test_a_compressed_bomb_stays_small(
    open_site: OpenSite, fast: bool, name: str
) -> None:
    site = await open_site(fast=fast, server={"maxBodyBytes": LIMIT})
    coding, body, status = COMPRESSED[name]
    reply = await site.ask(post(CHAT, body, f"content-encoding: {coding}"))
    assert reply.status == status
    assert not site.upstream.requests


# -- forms -----------------------------------------------------------------------------

MODEL = b'content-disposition: form-data; name="model"\r\n\r\ntiny'
OTHER = MODEL.replace(b"tiny", b"other")
FORMS = {
    "parts without end": ("b", b"--b\r\na:b\r\n\r\n\r\n" * 60_000),
    "a part's head without end": ("b", b"--b\r\n" + b"x" * LIMIT),
    "heads of white space": ("b", b"--b\r\ncontent-disposition:" + b" " * LIMIT),
    "parameters without end": (
        "b", (b"--b\r\ncontent-disposition: form-data" + b"; a=b" * 1500 + b"\r\n\r\n\r\n") * 99
    ),
    "no boundary in it": ("b", b"x" * (LIMIT - 1)),
    "nearly boundaries": ("b", b"\r\n--bx" * 150_000),
    "a model in a file's name": (
        "b", (b'--b\r\ncontent-disposition: form-data; name="f"; filename="; name=model"\r\n'
             b"\r\ntiny\r\n--b--")),
    "two boundaries": ("c; boundary=b", b"--b\r\n" + MODEL + b"\r\n--b--\r\n--c\r\n" + OTHER),
    "a boundary of another name": (
        'b"; xboundary=c', b"--c\r\n" + MODEL + b"\r\n--c--\r\n--b\r\n" + OTHER),
    "a boundary of a kilobyte": ("b" * 1000, b"--" + b"b" * 1000 + b"\r\n" + MODEL),
}  # fmt: skip


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", FORMS)
async def test_an_odd_form_is_refused(
    open_site: OpenSite, fast: bool, name: str
) -> None:
    site = await open_site(fast=fast, server={"maxBodyBytes": LIMIT})
    boundary, body = FORMS[name]
    kind = f"content-type: multipart/form-data; boundary={boundary}"
    reply = await site.ask(ask("POST", "/v1/audio/transcriptions", kind, body=body))
    assert reply.status in (400, 413, 415)
    assert not [m for m in site.upstream.requests if m.complete]
    assert await alive(site)


# -- what an upstream sends -----------------------------------------------------------

ODD_NUMBERS = ("-5", "1e400", "1" * 5000, "1.5", '"7"', "null", "[]", "true", "{}")
NO_REPLIES = {
    "deeper than JSON is read": b'{"object":"chat.completion","choices":' + DEEP + b"}",
    "no JSON": b"\0\xff",
}
REPLIES = {
    "many members": b'{"object":"chat.completion",' + MANY + b"}",
    "surrogates": b'{"object":"chat.completion","x":"\\ud800","id":"\\ud800"}',
    **{
        f"usage {number[:9]}": b'{"usage":{"prompt_tokens":%b,"completion_tokens":%b}}'
        % (number.encode(), number.encode())
        for number in ODD_NUMBERS
    },
}


@pytest.mark.parametrize("name", NO_REPLIES)
async def test_a_reply_that_cannot_be_read_is_none(site: Site, name: str) -> None:
    site.upstream.script = answers(whole(NO_REPLIES[name]))
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, error_of(reply)["code"]) == (502, "upstream_error")
    assert await alive(site)


@pytest.mark.parametrize("name", REPLIES)
async def test_an_odd_reply_is_passed_on_as_it_came(site: Site, name: str) -> None:
    site.upstream.script = answers(whole(REPLIES[name]))
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, reply.body) == (200, REPLIES[name])
    record = await site.record()
    for count in (record.prompt_tokens, record.completion_tokens):
        assert count is None or 0 <= count < 1 << 63
    metrics = await site.ask(ask("GET", "/metrics"))
    assert metrics.status == 200
    assert b"nan" not in metrics.body.lower()


@pytest.mark.parametrize("name", REPLIES | NO_REPLIES)
async def test_an_odd_event_is_passed_on_as_it_came(site: Site, name: str) -> None:
    event = b"data: " + (REPLIES | NO_REPLIES)[name].replace(b"\n", b"") + b"\n\n"
    site.upstream.script = answers(stream(EVENT, event, DONE))
    reply = await site.ask(post(CHAT, STREAM))
    assert reply.status == 200
    assert reply.body.startswith(EVENT)
    assert reply.body.endswith(DONE)
    assert await alive(site)


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("name", REPLIES)
async def test_an_odd_refusal_is_told_shortly(
    site: Site, name: str, status: int
) -> None:
    body = b'{"error":{"message":"m","inner":' + REPLIES[name] + b"}}"
    site.upstream.script = answers(whole(body, status=status))
    reply = await site.ask(post(CHAT, BODY))
    assert reply.status in (400, 502)
    assert len(reply.body) < 8000 or reply.body == body


async def test_an_event_without_end_is_cut_off(open_site: OpenSite) -> None:
    site = await open_site(fast=True, stream={"maxEventBytes": 1 << 16})
    endless = b"data: " + b"x" * (1 << 20)
    site.upstream.script = answers(stream(EVENT, endless))
    reply = await site.ask(post(CHAT, STREAM))
    assert "maxEventBytes" in told_last(reply)["message"]


async def test_names_without_end_are_not_kept(site: Site) -> None:
    """A response's id is remembered for whoever asks for it: within reason."""
    made = json.dumps({"id": "resp_" + "x" * LIMIT, "object": "response"}).encode()
    site.upstream.script = answers(whole(made))
    assert (await site.ask(post(RESPONSES, BODY))).body == made
    assert not site.runtime.pipeline._carrier.owners._owners


def told_last(reply: Message) -> Any:
    """The error in the last event but the terminator."""
    document: Any = data_of(events(reply.body)[-2])
    return document["error"]
