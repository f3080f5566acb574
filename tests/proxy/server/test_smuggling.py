"""Requests that two parsers could read differently, by either door, cut in many places.

Behind each is a request that names itself: where a body is measured in another way than
its head says, that one would reach the upstream, or its reply the caller.
"""

from __future__ import annotations

import pytest

from tests.parts.http_text import chunk, post, responses
from tests.parts.inside import CHAT, COMPLETION, Site
from tests.parts.scripts import BODY, error_of

HIDDEN = post(CHAT, BODY, "x-request-id: hidden")
LENGTH = b"content-length: %d" % len(BODY)
CHUNKED = chunk(BODY) + b"0\r\n\r\n"
ASK = post(CHAT, BODY)


def with_lines(lines: bytes, body: bytes = BODY) -> bytes:
    """A request with these lines in place of its Content-Length."""
    head, _, _ = ASK.partition(b"\r\n\r\n")
    return head.replace(LENGTH, lines) + b"\r\n\r\n" + body


def lengths(*values: bytes) -> bytes:
    return b"\r\n".join(b"content-length: " + value for value in values)


SIZE = b"%d" % len(BODY)
CL_TE = b"0\r\n\r\n"
TE_CL = b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n"
CODINGS = [
    b"transfer-encoding: chunked",
    b"Transfer-Encoding : chunked",
    b"transfer-encoding:\tchunked",
    b"transfer-encoding:\r\n chunked",
    b" transfer-encoding: chunked",
    b"x: y\r\n\ttransfer-encoding: chunked",
    b"x: y\ntransfer-encoding: chunked",
    b"x: y\rtransfer-encoding: chunked",
    b"transfer-encoding\0: chunked",
    b"transfer-encoding: chunked\0",
    b"transfer-encoding: xchunked",
    b"transfer-encoding: identity, chunked",
    b"transfer-encoding: chunked, identity",
    b"transfer-encoding: identity\r\ntransfer-encoding: chunked",
    b"transfer-encoding: chunked\r\ntransfer-encoding: cow",
]
ODD_LENGTHS = [
    lengths(SIZE, b"0"),
    lengths(b"0", SIZE),
    lengths(SIZE, SIZE),
    lengths(SIZE + b", " + SIZE),
    lengths(b"+" + SIZE),
    lengths(b"-" + SIZE),
    lengths(b"0x1e"),
    lengths(SIZE + b"\0"),
    lengths(SIZE + b" 0"),
    lengths(b"99999999999999999999"),
    lengths(b"\r\n " + SIZE),
    lengths(SIZE + b"\r\n 0"),
    lengths(SIZE).replace(b":", b" :"),
    lengths(b""),
]
REFUSED = [
    *(with_lines(LENGTH + b"\r\n" + line, CL_TE) for line in CODINGS),
    *(with_lines(lengths(b"4") + b"\r\n" + line, TE_CL) for line in CODINGS),
    *(with_lines(line) for line in ODD_LENGTHS),
    ASK.replace(b"\r\n", b"\n"),
    ASK.replace(b"\r\n", b"\n", 1),
    ASK.replace(b"\r\nhost", b"\nhost"),
    ASK.replace(b"\r\n\r\n", b"\n\r\n"),
    ASK.replace(b"host:", b"host :"),
    ASK.replace(b"127.0.0.1", b"127.0.0.1\r\n folded"),
    ASK.replace(b"127.0.0.1", b"127.0.0.1\0"),
]


def cuts(wire: bytes) -> list[list[bytes]]:
    end = wire.find(b"\r\n\r\n") + 4
    return [
        [wire],
        [wire[:end], wire[end:]],
        [wire[: end - 2], wire[end - 2 :]],
        [wire[:60], wire[60:]],
    ]


@pytest.mark.parametrize("number", range(len(REFUSED)))
async def test_it_is_one_request_at_most_and_refused(site: Site, number: int) -> None:
    for pieces in cuts(REFUSED[number] + HIDDEN):
        caller = await site.caller()
        for piece in pieces:
            caller.send(piece)
            await site.settle()
        found = responses(await caller.rest())
        # A reply may be lost where the caller was still sending; never is there another.
        assert [reply.status for reply in found] in ([400], [501], [])
        assert all(error_of(reply)["code"] == "invalid_field" for reply in found)
    assert not site.upstream.requests
    assert not any(record.status == 200 for record in site.records)


@pytest.mark.parametrize("line", CODINGS[:1] + CODINGS[2:3])
async def test_chunks_alone_are_an_ordinary_body(site: Site, line: bytes) -> None:
    caller = await site.caller()
    caller.send(with_lines(line, CHUNKED) + ASK)
    assert [(await caller.reply()).body for _ in range(2)] == [COMPLETION] * 2
    assert [request.body for request in site.upstream.requests] == [BODY] * 2
