"""Rows of heads that are no HTTP, or more of it than was asked for."""

from __future__ import annotations

import gzip

from tests.faults.row import (
    BROKEN,
    CHUNKED,
    COMPLETION,
    FLOW,
    GOOD,
    GOOD_STREAM,
    JSON,
    NO_ANSWER,
    Outcome,
    Row,
    comes,
    row,
)
from tests.faults.steps import hang, plays, settle
from tests.parts.http_text import LAST_CHUNK, chunk, head

EVENTS = "content-type: text/event-stream"
LENGTH = f"content-length: {len(COMPLETION)}"
PACKED = gzip.compress(COMPLETION, mtime=0)
PACKED_STREAM = gzip.compress(FLOW, mtime=0)


def with_field(line: bytes) -> tuple[bytes, bytes]:
    """Good replies with one more line in their heads."""
    mark = b"\r\ncontent-type:"
    return tuple(good.replace(mark, b"\r\n" + line + mark, 1)
                 for good in (GOOD, GOOD_STREAM))  # fmt: skip


def odd_head(name: str, line: bytes, outcome: Outcome = BROKEN) -> Row:
    first, second = with_field(line)
    return row(name, (plays(first), plays(second)), outcome)


def framed(name: str, *fields: str) -> Row:
    """A row of good bodies whose heads frame them in this way alone."""
    return row(
        name,
        (
            plays(head(200, JSON, *fields) + COMPLETION, hang),
            plays(head(200, EVENTS, *fields) + FLOW, hang),
        ),
        BROKEN,
    )


def with_start(start: bytes) -> tuple[bytes, bytes]:
    """Good replies with another status line."""
    return tuple(start + good[good.index(b"\r\n") :] for good in (GOOD, GOOD_STREAM))


def odd_start(name: str, start: bytes, outcome: Outcome = BROKEN) -> Row:
    first, second = with_start(start)
    return row(name, (plays(first), plays(second)), outcome)


def redirect(status: int) -> Row:
    """A row of a redirect; the place it leads to is looked for in test_redirects."""
    return row(
        f"redirects with {status}",
        plays(head(status, "location: /elsewhere", "content-length: 0")),
        NO_ANSWER,
    )


ROWS: tuple[Row, ...] = (
    row("speaks another protocol", plays(b"SSH-2.0-OpenSSH_9.9\r\n", hang), BROKEN),
    row("answers without a head, as HTTP/0.9 does", plays(COMPLETION, hang), BROKEN),
    row("answers with HTML and no head", plays(b"<html>\r\n\r\n</html>"), BROKEN),
    odd_start("speaks HTTP/2", b"HTTP/2 200"),
    odd_start("answers with a status of two digits", b"HTTP/1.1 20 OK"),
    odd_head("folds a field over two lines", b"x-a: 1\r\n folded: 2"),
    odd_head("puts a NUL into its head", b"x-a: 1\0"),
    odd_head("ends a field with LF alone", b"x-a: 1\nx-b: 2"),
    odd_head("puts a space before a colon", b"x-a : 1"),
    odd_head("sends a field without a name", b": 1"),
    framed("names two lengths that differ", "content-length: 52", "Content-Length: 53"),
    framed("names its length twice, alike", LENGTH, LENGTH),
    framed("names its length twice in one field", f"{LENGTH}, {len(COMPLETION)}"),
    framed("names a length that is no number", "content-length: +52"),
    framed("names a negative length", "content-length: -1"),
    framed("names another coding than chunked", "transfer-encoding: gzip"),
    framed("names a coding beside chunked", "transfer-encoding: gzip, chunked"),
    row(
        "names a length and sends chunks",
        plays(head(200, JSON, LENGTH, CHUNKED) + chunk(COMPLETION) + LAST_CHUNK),
        BROKEN,
    ),
    odd_head("sends a head of 200 short fields", b"\r\n".join([b"a: 1"] * 200)),
    odd_head("sends a head of 10,000 fields", b"\r\n".join([b"x-many: 1"] * 10_000)),
    odd_head("sends one field of 100 KiB", b"x-long: " + b"a" * (100 << 10)),
    row(
        "sends a head without end",
        plays(GOOD[:-80] + b"x-many: 1\r\n" * 20_000, hang),
        BROKEN,
    ),
    row(
        "sends 100 before its reply",
        (plays(head(100) + GOOD), plays(head(100), settle, GOOD_STREAM)),
        comes(COMPLETION),
        comes(FLOW),
    ),
    row(
        "sends 103 before its reply, twice",
        (
            plays(head(103, "link: </a.css>") * 2, settle, GOOD),
            plays(head(103, "link: </a.css>") * 2 + GOOD_STREAM),
        ),
        comes(COMPLETION),
        comes(FLOW),
    ),
    row(
        "switches protocols unasked",
        plays(head(101, "upgrade: websocket", "connection: upgrade") + b"\x81\x01x"),
        BROKEN,
    ),
    *(redirect(status) for status in (301, 302, 303, 307, 308)),
    row("answers 304", plays(head(304)), NO_ANSWER),
    row(
        "compresses its reply unasked",
        (
            plays(
                head(
                    200,
                    JSON,
                    "content-encoding: gzip",
                    f"content-length: {len(PACKED)}",
                )
                + PACKED
            ),
            plays(
                head(
                    200,
                    EVENTS,
                    "content-encoding: gzip",
                    f"content-length: {len(PACKED_STREAM)}",
                )
                + PACKED_STREAM
            ),
        ),
        NO_ANSWER,
    ),
)
