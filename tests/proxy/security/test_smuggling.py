"""Requests that two parsers could read in two ways, and replies that hold a second.

Each is sent to both doors on a connection of its own, with a request behind it that
must be seen as one, or not at all.
"""

from __future__ import annotations

import pytest

from proxy.routes import ROUTES
from proxy.server.head import HeadReader
from tests.parts.http_text import chunk, head, post, responses, whole
from tests.parts.inside import CHAT, Site
from tests.parts.raw import connect
from tests.parts.scripts import BODY, answers, ask, error_of

LINE = f"POST {CHAT} HTTP/1.1".encode()
HOST = b"Host: 127.0.0.1"
LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"
IN_CHUNKS = chunk(BODY) + b"0\r\n\r\n"
SECOND = b"GET /providers/box/smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def lines(*parts: bytes) -> bytes:
    return b"\r\n".join((*parts, b"", b""))


async def told(site: Site, sent: bytes) -> list[int]:
    """Send these bytes, FIN behind them, and answer the statuses that come back."""
    reader, writer = await connect(site.url)
    writer.write(sent)
    received = b""
    try:
        while data := await reader.read(1 << 16):
            received += data
            if received.count(b"\r\n\r\n") and responses(received)[-1].complete:
                writer.write_eof()
    except ConnectionError:
        pass
    finally:
        writer.close()
    return [message.status for message in responses(received)]


AMBIGUOUS = {
    "both framings": lines(LINE, HOST, LENGTH, CHUNKED) + IN_CHUNKS,
    "both framings, short": lines(LINE, HOST, CHUNKED, b"Content-Length: 4") + IN_CHUNKS,
    "two codings": lines(LINE, HOST, CHUNKED, b"Transfer-Encoding: identity") + IN_CHUNKS,
    "chunked not last": lines(LINE, HOST, b"Transfer-Encoding: chunked, identity")
    + IN_CHUNKS,
    "unknown coding": lines(LINE, HOST, b"Transfer-Encoding: xchunked") + IN_CHUNKS,
    "quoted coding": lines(LINE, HOST, b'Transfer-Encoding: "chunked"') + IN_CHUNKS,
    "vertical tab": lines(LINE, HOST, b"Transfer-Encoding: \x0bchunked") + IN_CHUNKS,
    "coding on a folded line": lines(LINE, HOST, b"Transfer-Encoding:", b" chunked")
    + IN_CHUNKS,
    "coding behind a line feed": lines(LINE, HOST, b"X: y\n" + CHUNKED, LENGTH) + BODY,
    "coding before space": lines(LINE, HOST, b"Transfer-Encoding : chunked", LENGTH)
    + BODY,
    "chunked in HTTP/1.0": lines(LINE[:-1] + b"0", HOST, CHUNKED) + IN_CHUNKS,
    "length twice": lines(LINE, HOST, LENGTH, LENGTH) + BODY,
    "two lengths": lines(LINE, HOST, LENGTH, b"Content-Length: 3") + BODY,
    "a list of lengths": lines(LINE, HOST, b"Content-Length: 30, 30") + BODY,
    "length with a plus": lines(LINE, HOST, b"Content-Length: +30") + BODY,
    "length with a minus": lines(LINE, HOST, b"Content-Length: -30") + BODY,
    "length in hex": lines(LINE, HOST, b"Content-Length: 0x1e") + BODY,
    "length with an underscore": lines(LINE, HOST, b"Content-Length: 3_0") + BODY,
    "length with a gap": lines(LINE, HOST, b"Content-Length: 3 0") + BODY,
    "length in other digits": lines(LINE, HOST, "Content-Length: ٣٠".encode()) + BODY,
    "no length in the field": lines(LINE, HOST, b"Content-Length: ") + BODY,
    "length beyond 64 bits": lines(LINE, HOST, b"Content-Length: 18446744073709551646")
    + BODY,
    "length before a line feed": lines(LINE, HOST, b"Content-Length: 30\n", b"X: y")
    + BODY,
    "lines end in line feeds": lines(LINE, HOST, LENGTH).replace(b"\r\n", b"\n") + BODY,
    "a carriage return": lines(LINE, HOST, b"X: a\rb", LENGTH) + BODY,
    "a folded line": lines(LINE, HOST, b"X: a", b" b", LENGTH) + BODY,
    "a folded first line": lines(LINE, b" X: a", HOST, LENGTH) + BODY,
    "NUL in a value": lines(LINE, HOST, b"X: a\0b", LENGTH) + BODY,
    "a control in a value": lines(LINE, HOST, b"X: a\x01b", LENGTH) + BODY,
    "NUL in a name": lines(LINE, HOST, b"X\0: a", LENGTH) + BODY,
    "space before the colon": lines(LINE, HOST, b"X : a", LENGTH) + BODY,
    "no colon": lines(LINE, HOST, b"X", LENGTH) + BODY,
    "no name": lines(LINE, HOST, b": a", LENGTH) + BODY,
    "a name beyond ASCII": lines(LINE, HOST, b"X\xff: a", LENGTH) + BODY,
    "no host": lines(LINE, LENGTH) + BODY,
    "two hosts": lines(LINE, HOST, b"Host: evil.example", LENGTH) + BODY,
    "a space in the target": lines(b"POST /v1/x y HTTP/1.1", HOST, LENGTH) + BODY,
    "a tab for a space": lines(LINE.replace(b" ", b"\t"), HOST, LENGTH) + BODY,
    "a space first": b" " + lines(LINE, HOST, LENGTH) + BODY,
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": lines(LINE.replace(b"1.1", b"2.0"), HOST, LENGTH) + BODY,
    "HTTP/1.2": lines(LINE.replace(b"1.1", b"1.2"), HOST, LENGTH) + BODY,
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "a chunk with a plus": lines(LINE, HOST, CHUNKED) + b"+" + IN_CHUNKS,
    "a chunk in 0x": lines(LINE, HOST, CHUNKED) + b"0x" + IN_CHUNKS,
    "a space before a chunk": lines(LINE, HOST, CHUNKED) + b" " + IN_CHUNKS,
    "a space behind a size": lines(LINE, HOST, CHUNKED)
    + IN_CHUNKS.replace(b"\r\n", b" \r\n", 1),
    "a size beyond 64 bits": lines(LINE, HOST, CHUNKED) + b"1000000000000001e\r\n",
    "a line feed in an extension": lines(LINE, HOST, CHUNKED)
    + IN_CHUNKS.replace(b"\r\n", b";a\nb\r\n", 1),
    "chunks end in line feeds": lines(LINE, HOST, CHUNKED)
    + IN_CHUNKS.replace(b"\r\n", b"\n"),
    "a chunk longer than its size": lines(LINE, HOST, CHUNKED)
    + IN_CHUNKS.replace(b"}\r\n", b"}XX"),
    "a chunk without its end": lines(LINE, HOST, CHUNKED)
    + IN_CHUNKS.replace(b"}\r\n", b"}"),
    "framing in a trailer": lines(LINE, HOST, CHUNKED)
    + chunk(BODY) + b"0\r\nContent-Length: 5\r\n\r\n",
    "a malformed trailer": lines(LINE, HOST, CHUNKED) + chunk(BODY) + b"0\r\nX\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_what_could_be_read_in_two_ways_is_refused(site: Site, name: str) -> None:
    """Nothing goes on, and what stands behind it is never looked at."""
    statuses = await told(site, AMBIGUOUS[name] + SECOND)
    assert len(statuses) == 1
    assert 400 <= statuses[0] < 500 or statuses[0] == 505
    assert not site.upstream.requests


PLAIN = {
    "zeros before a length": lines(LINE, HOST, b"Content-Length: 0030") + BODY,
    "space around a length": lines(LINE, HOST, b"Content-Length:  30 ") + BODY,
    "a coding in capitals": lines(LINE, HOST, b"Transfer-Encoding: CHUNKED") + IN_CHUNKS,
    "a chunk extension": lines(LINE, HOST, CHUNKED)
    + IN_CHUNKS.replace(b"\r\n", b";a=b\r\n", 1),
    "length named by connection": lines(
        LINE, HOST, b"Connection: keep-alive, content-length", LENGTH) + BODY,
    "coding with an underscore": lines(LINE, HOST, b"Transfer_Encoding: x", LENGTH) + BODY,
    "bytes beyond ASCII": lines(LINE, HOST, b"X: \xff\xfe", LENGTH) + BODY,
    "a line break first": b"\r\n" + lines(LINE, HOST, LENGTH) + BODY,
    "an upgrade that is none": lines(
        LINE, HOST, b"Connection: Upgrade", b"Upgrade: websocket", LENGTH) + BODY,
    "an upgrade in chunks": lines(
        LINE, HOST, b"Connection: Upgrade", b"Upgrade: websocket", CHUNKED) + IN_CHUNKS,
    "an upgrade to h2c": lines(
        LINE, HOST, b"Connection: Upgrade", b"Upgrade: h2c", LENGTH) + BODY,
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
async def test_what_can_be_read_in_one_way_goes_on_whole(site: Site, name: str) -> None:
    """Framed anew for the upstream, and no byte of it for the next request's."""
    assert (await told(site, PLAIN[name]))[-1] == 200
    [request] = site.upstream.requests
    assert request.body == BODY
    assert request.header("content-length") == str(len(BODY))
    for hop in ("transfer-encoding", "connection", "upgrade"):
        assert request.header(hop) is None


@pytest.mark.parametrize(
    "refused",
    [
        ask("POST", "/nowhere", body=SECOND),
        ask("DELETE", CHAT, body=SECOND),
        ask("GET", "/healthz", body=SECOND),
        ask("HEAD", "/healthz", body=SECOND),
        ask("POST", CHAT, "host: evil.example", body=SECOND),
        ask("POST", CHAT, "content-type: multipart/form-data", body=SECOND),
        ask("POST", CHAT, "content-encoding: br", body=SECOND),
        ask("POST", "/providers/box/api/pull", "via: 1.1 x", body=SECOND),
        lines(b"POST /nowhere HTTP/1.1", HOST, CHUNKED) + chunk(SECOND) + b"0\r\n\r\n",
        ask("GET", "/healthz", "connection: upgrade", "upgrade: websocket", body=SECOND),
        ask("GET", "/providers/box/api/pull", "via: 1.1 x", "connection: upgrade",
            "upgrade: websocket", body=SECOND),
    ],
)  # fmt: skip
async def test_a_body_nobody_read_is_no_request(site: Site, refused: bytes) -> None:
    caller = await site.caller()
    caller.send(refused)
    await caller.reply(to_head=refused.startswith(b"HEAD"))
    caller.finish()
    assert await caller.rest() == b""
    assert not site.upstream.requests


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "OPTIONS"])
@pytest.mark.parametrize(
    "target", ["*", "evil.example:443", "127.0.0.1:443", "/healthz"]
)
async def test_no_tunnel_and_no_echo(site: Site, method: str, target: str) -> None:
    caller = await site.caller()
    caller.send(ask(method, target, "cookie: c=1") + ask("GET", "/healthz"))
    refused = await caller.reply()
    assert refused.status in (400, 404, 405)
    assert b"c=1" not in refused.raw
    caller.finish()
    assert not site.upstream.requests


# -- a target that names a host ---------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example",
        "http://evil.example:80",
        "http://127.0.0.1@evil.example",
        "http://evil.example?x=",
        "http://127.0.0.1.evil.example",
        "https://127.0.0.1:1",
        "http://",
        "http:/",
        "ftp://127.0.0.1",
        "//evil.example",
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/providers/box/pooling"])
async def test_a_target_names_no_other_host_than_the_host_field(
    site: Site, target: str, path: str
) -> None:
    reply = await site.ask(post(target + path, BODY))
    assert reply.status in (400, 403, 404)
    assert not site.upstream.requests


async def test_a_target_may_name_the_host_of_the_host_field(site: Site) -> None:
    assert (await site.ask(post(f"http://127.0.0.1{CHAT}", BODY))).status == 200
    assert site.upstream.requests[0].target == CHAT


# -- the upstream's replies ---------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        head(200, "content-length: 2", "content-length: 3") + b"{}",
        head(200, "content-length: 2", "transfer-encoding: chunked") + b"{}",
        head(200, "transfer-encoding: gzip, chunked") + b"2\r\n{}\r\n0\r\n\r\n",
        head(200, "content-length: +2") + b"{}",
        head(200, "content-length: 2, 2") + b"{}",
        head(200, "x : y", "content-length: 2") + b"{}",
        head(200, "x: a\r\n folded", "content-length: 2") + b"{}",
        head(200, "x: a\nset-cookie: b", "content-length: 2") + b"{}",
        head(200, "x: a\rb", "content-length: 2") + b"{}",
        head(200, "x: a\0b", "content-length: 2") + b"{}",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
        b"HTTP/2 200\r\ncontent-length: 2\r\n\r\n{}",
        b"ICY 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ],
)
@pytest.mark.parametrize("path", [CHAT, f"/providers/box{CHAT}"])
async def test_a_reply_that_could_be_read_in_two_ways_is_none(
    site: Site, path: str, reply: bytes
) -> None:
    site.upstream.script = answers(reply)
    told = await site.ask(post(path, BODY))
    assert told.status == 502
    assert error_of(told)["code"] == "upstream_error"


async def test_a_second_reply_is_nobodys(site: Site) -> None:
    """Bytes behind a reply may be meant for whoever comes next: they are not sent on."""
    site.upstream.script = answers(
        whole(b'{"object":"chat.completion","n":1}') + whole(b'{"poison":1}'),
        whole(b'{"object":"chat.completion","n":2}'),
    )
    for number in (b"1", b"2"):
        reply = await site.ask(post(CHAT, BODY))
        assert reply.body == b'{"object":"chat.completion","n":%b}' % number


@pytest.mark.parametrize("length", ["²", "9" * 5000, "+5", "5, 5"])
async def test_a_head_alone_must_be_sound_too(site: Site, length: str) -> None:
    site.upstream.script = answers(head(200, f"content-length: {length}"))
    caller = await site.caller()
    caller.send(ask("HEAD", "/providers/box/version"))
    assert (await caller.reply(to_head=True)).status == 502


# -- what the fast door reads -----------------------------------------------------


@pytest.mark.parametrize("white", [b" ", b"\t", b" \t"])
def test_white_space_in_a_value_is_looked_at_once(white: bytes) -> None:
    """To look at it again from each place would take minutes here."""
    reader = HeadReader(route for route in ROUTES if route.hot)
    for number in range(2000):
        value = b"a" + white * (12_000 // len(white)) + b"%d" % number
        found = reader.read(lines(LINE, HOST, b"X: " + value, LENGTH))
        assert found is not None
        assert found[0].headers.get("x") == value.decode()
