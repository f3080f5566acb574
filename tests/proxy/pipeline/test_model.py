"""Bodies of model requests: what is refused, and that the rest goes on as it came."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.parts.http_text import Message, chunk, post
from tests.parts.inside import (
    CHAT,
    COMPLETION,
    MESSAGES,
    RESPONSES,
    OpenSite,
    Site,
)

BODY = b'{"model":"tiny","messages":[]}'
MODEL_ROUTES = (
    CHAT, "/v1/completions", RESPONSES, "/v1/embeddings", "/v1/rerank", MESSAGES,
    "/v1/messages/count_tokens", "/anthropic/v1/messages",
)  # fmt: skip


def error_of(reply: Message) -> Any:
    return json.loads(reply.body)["error"]


def renamed(**extra: Any) -> dict[str, Any]:
    model = {"id": "tiny", "providerId": "box", "upstreamModel": "org/tiny-1b", **extra}
    return {"models": [model]}


# -- JSON ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"tiny"',
        b"null",
        b'{"model":"tiny"}x',
        b'{"model":"tiny","model":"tiny"}',
        b'{"model":"tiny","mod\\u0065l":"tiny"}',
        b'{"model":"tiny","x":NaN}',
        b'{"model":"tiny","x":-Infinity}',
        b'{"model":"tiny","x":"\xff"}',
        b'\xef\xbb\xbf{"model":"tiny"}',
        b'{"model":"tiny",}',
        b"{'model':'tiny'}",
        b'{"model":"tiny","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        json.dumps({"model": "tiny"}).encode("utf-16"),
    ],
)
async def test_what_is_no_json_object_is_refused(site: Site, body: bytes) -> None:
    reply = await site.ask(post(CHAT, body))
    assert reply.status == 400
    error = error_of(reply)
    assert (error["code"], error["type"]) == ("invalid_json", "invalid_request_error")
    assert not site.upstream.requests


@pytest.mark.parametrize("path", MODEL_ROUTES)
@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{}", "missing_field", "model"),
        (b'{"model":null}', "missing_field", "model"),
        (b'{"model":""}', "missing_field", "model"),
        (b'{"model":7}', "invalid_field", "model"),
        (b'{"model":["tiny"]}', "invalid_field", "model"),
        (b'{"model":"tiny","stream":"yes"}', "invalid_field", "stream"),
        (b'{"model":"tiny","stream":1}', "invalid_field", "stream"),
    ],
)
async def test_the_field_at_fault_is_named(
    site: Site, path: str, body: bytes, code: str, param: str
) -> None:
    reply = await site.ask(post(path, body))
    assert reply.status == 400
    error = error_of(reply)
    assert error["code"] == code
    if "messages" not in path:
        assert error["param"] == param
    assert param in error["message"]
    assert not site.upstream.requests


@pytest.mark.parametrize("options", [b"7", b'"x"', b"[]", b"true"])
async def test_stream_options_are_an_object(site: Site, options: bytes) -> None:
    body = b'{"model":"tiny","stream":true,"stream_options":%b}' % options
    reply = await site.ask(post(CHAT, body))
    assert (reply.status, error_of(reply)["param"]) == (400, "stream_options")


async def test_a_previous_response_is_named_by_text(site: Site) -> None:
    reply = await site.ask(
        post(RESPONSES, b'{"model":"tiny","previous_response_id":7}')
    )
    assert error_of(reply)["param"] == "previous_response_id"


async def test_an_unknown_model_names_near_ones(site: Site) -> None:
    reply = await site.ask(post(CHAT, b'{"model":"tinny"}'))
    assert reply.status == 404
    error = error_of(reply)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "`tiny`" in error["message"]


async def test_what_the_provider_cannot_do_is_said(site: Site) -> None:
    reply = await site.ask(post("/v1/images/generations", BODY))
    assert reply.status == 400
    error = error_of(reply)
    assert (error["code"], error["param"]) == ("unsupported_operation", "model")
    assert not site.upstream.requests


# -- bytes -----------------------------------------------------------------------


ODD = (
    b' {"messages" :[ {"role":"user","content":"\\u0041 \xc3\xa9 \\ud83d"}\t],\r\n'
    b'"model": "tiny" , "big":123456789012345678901234567890.10e+0,"none":null ,'
    b'"nested":{"b":1,"a":2,"b":3},"":[ ] }\n'
)


@pytest.mark.parametrize("path", MODEL_ROUTES)
async def test_a_body_that_needs_no_change_goes_as_it_came(
    site: Site, path: str
) -> None:
    reply = await site.ask(post(path, ODD))
    assert reply.status == 200
    [sent] = site.upstream.requests
    assert sent.body == ODD
    assert sent.target == path.removeprefix("/anthropic")
    assert sent.header("content-length") == str(len(ODD))


async def test_the_models_name_alone_is_changed(open_site: OpenSite) -> None:
    site = await open_site(**renamed())
    await site.ask(post(CHAT, ODD))
    [sent] = site.upstream.requests
    assert sent.body == ODD.replace(b'"tiny"', b'"org/tiny-1b"')


async def test_no_null_is_ever_added(open_site: OpenSite) -> None:
    site = await open_site(**renamed(params={"strip": ["user"]}))
    await site.ask(post("/v1/embeddings", b'{"model":"tiny","input":"x","user":"u"}'))
    assert json.loads(site.upstream.requests[0].body) == {
        "model": "org/tiny-1b",
        "input": "x",
    }


@pytest.mark.parametrize("options", [b"", b',"stream_options":null'])
async def test_usage_is_asked_for(site: Site, options: bytes) -> None:
    await site.ask(post(CHAT, b'{"model":"tiny","stream":true%b}' % options))
    sent = json.loads(site.upstream.requests[0].body)
    assert sent["stream_options"] == {"include_usage": True}


async def test_usage_is_asked_for_beside_the_callers_options(site: Site) -> None:
    given = b'{ "odd" : 1.0e2, "include_usage": false }'
    body = b'{"model":"tiny","stream":true,"stream_options":%b}' % given
    await site.ask(post(CHAT, body))
    sent = site.upstream.requests[0].body
    assert b'"odd" : 1.0e2' in sent
    assert json.loads(sent)["stream_options"] == {"odd": 100.0, "include_usage": True}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, BODY),
        (CHAT, b'{"model":"tiny","stream":false}'),
        (
            CHAT,
            b'{"model":"tiny","stream":true,"stream_options":{"include_usage":true}}',
        ),
        (MESSAGES, b'{"model":"tiny","stream":true}'),
        (RESPONSES, b'{"model":"tiny","stream":true}'),
    ],
)
async def test_usage_is_not_asked_for_where_it_comes_anyway(
    site: Site, path: str, body: bytes
) -> None:
    await site.ask(post(path, body))
    assert site.upstream.requests[0].body == body


async def test_a_query_goes_on(site: Site) -> None:
    await site.ask(post(f"{CHAT}?api-version=1&x=%20", BODY))
    assert site.upstream.requests[0].target == f"{CHAT}?api-version=1&x=%20"


async def test_json_by_another_name_is_called_json(site: Site) -> None:
    request = post(CHAT, BODY).replace(
        b"application/json", b"application/x-www-form-urlencoded"
    )
    assert (await site.ask(request)).status == 200
    [sent] = site.upstream.requests
    assert sent.header("content-type") == "application/json"


# -- codings and sizes ----------------------------------------------------------------


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", bare_deflate),
        ("identity", bytes),
    ],
)
async def test_a_compressed_body_is_inflated(
    site: Site, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(BODY)
    reply = await site.ask(post(CHAT, packed, f"content-encoding: {coding}"))
    assert reply.body == COMPLETION
    [sent] = site.upstream.requests
    assert sent.body == BODY
    assert sent.header("content-encoding") is None
    assert site.records[0].bytes_in == len(packed)


@pytest.mark.parametrize(
    ("coding", "body", "status", "code"),
    [
        ("br", BODY, 415, "unsupported_media_type"),
        ("zstd", BODY, 415, "unsupported_media_type"),
        ("gzip, gzip", BODY, 415, "unsupported_media_type"),
        ("gzip", BODY, 400, "invalid_field"),
        ("deflate", b"\xff" + BODY, 400, "invalid_field"),
        ("gzip", gzip.compress(BODY, mtime=0)[:-4], 400, "invalid_field"),
        ("gzip", gzip.compress(BODY, mtime=0) + b"x", 400, "invalid_field"),
    ],
)
async def test_a_body_that_cannot_be_inflated_is_refused(
    site: Site, coding: str, body: bytes, status: int, code: str
) -> None:
    reply = await site.ask(post(CHAT, body, f"content-encoding: {coding}"))
    assert reply.status == status
    assert error_of(reply)["code"] == code
    assert error_of(reply)["param"] == "content-encoding"


async def test_a_bomb_is_counted_inflated(open_site: OpenSite) -> None:
    site = await open_site(server={"maxBodyBytes": 100_000})
    bomb = gzip.compress(b'{"model":"tiny","x":"' + bytes(10_000_000) + b'"}')
    assert len(bomb) < 100_000
    reply = await site.ask(post(CHAT, bomb, "content-encoding: gzip"))
    assert reply.status == 413
    assert error_of(reply)["code"] == "body_too_large"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_may_be_as_large_as_the_limit_and_no_larger(
    open_site: OpenSite, fast: bool, chunked: bool
) -> None:
    site = await open_site(fast=fast, server={"maxBodyBytes": 1000})
    for size, status in ((1000, 200), (1001, 413)):
        body = BODY[:-1] + b',"x":"' + b"y" * (size - len(BODY) - 8) + b'"}'
        body += b" " * (size - len(body))
        request = post(CHAT, body)
        if chunked:
            request = request.replace(
                b"content-length: %d" % size, b"transfer-encoding: chunked"
            ).replace(body, chunk(body) + b"0\r\n\r\n")
        reply = await site.ask(request)
        assert reply.status == status
    assert error_of(reply)["code"] == "body_too_large"
    assert "1000 bytes" in error_of(reply)["message"]
    assert len(site.upstream.requests) == 1


async def test_a_form_is_no_json(site: Site) -> None:
    request = post(CHAT, BODY).replace(
        b"application/json", b"multipart/form-data; boundary=x"
    )
    reply = await site.ask(request)
    assert reply.status == 415
    assert error_of(reply)["code"] == "unsupported_media_type"
