"""Rows of bodies whose frame is wrong, odd or cut in odd places."""

from __future__ import annotations

from tests.faults.row import (
    BROKEN,
    CHUNKED,
    COMPLETION,
    FLOW,
    GOOD,
    GOOD_STREAM,
    JSON,
    UNFIT,
    Outcome,
    Row,
    comes,
    row,
    told,
)
from tests.faults.steps import close, dribble, hang, plays, settle
from tests.parts.http_text import LAST_CHUNK, chunk, event_stream_head, head, whole
from tests.parts.scripts import DONE, EVENT

EVENTS = "content-type: text/event-stream"
JSON_HEAD = head(200, JSON, CHUNKED)
SECRET = b'{"secret":"of another caller"}'
TEXT = '{"object":"chat.completion","choices":[],"say":"grün 漢字 🙂"}'.encode()
WORDS = 'data: {"choices":[{"delta":{"content":"grün 漢字 🙂"}}]}\n\n'.encode()
TRAILERS = b"0\r\nx-checksum: abc\r\nx-more: 1\r\n\r\n"
BROKEN_STREAM = told("upstream_stream_broken", EVENT)


def by_bytes(data: bytes) -> bytes:
    """Frame each byte as a chunk."""
    return b"".join(chunk(data[at : at + 1]) for at in range(len(data)))


def bad_chunk(
    name: str, broken: bytes, whole: Outcome = BROKEN, stream: Outcome = BROKEN_STREAM
) -> Row:
    """A row of a chunk that is none, behind one that is."""
    return row(
        name,
        (
            plays(JSON_HEAD + chunk(COMPLETION[:9]), settle, broken, hang),
            plays(event_stream_head() + chunk(EVENT), settle, broken, hang),
        ),
        whole,
        stream,
    )


ROWS: tuple[Row, ...] = (
    row(
        "sends a good reply byte by byte",
        (plays(dribble(GOOD)), plays(dribble(GOOD_STREAM))),
        comes(COMPLETION),
        comes(FLOW),
    ),
    row(
        "sends chunks of one byte, so that characters are split",
        (
            plays(JSON_HEAD, dribble(by_bytes(TEXT) + LAST_CHUNK)),
            plays(event_stream_head(), dribble(by_bytes(WORDS + DONE) + LAST_CHUNK)),
        ),
        comes(TEXT),
        comes(WORDS + DONE),
    ),
    row(
        "splits a character between two chunks",
        (
            plays(JSON_HEAD + chunk(TEXT[:-8]), settle, chunk(TEXT[-8:]) + LAST_CHUNK),
            plays(
                event_stream_head() + chunk(WORDS[:-12]),
                settle,
                chunk(WORDS[-12:] + DONE) + LAST_CHUNK,
            ),
        ),
        comes(TEXT),
        comes(WORDS + DONE),
    ),
    bad_chunk("sends a chunk of a negative size", b"-1\r\nx\r\n"),
    bad_chunk("sends a chunk whose size is no number", b"zz\r\nx\r\n"),
    bad_chunk("sends a chunk whose size begins with 0x", b"0x10\r\nx\r\n"),
    bad_chunk("sends a chunk of no size at all", b"\r\nx\r\n"),
    bad_chunk("sends a chunk of 16 digits' size", b"f" * 16 + b"\r\nx\r\n"),
    bad_chunk("sends a chunk that goes on behind its size", b"1\r\nxyz\r\n"),
    bad_chunk("ends the line of a chunk's size with LF alone", b"1\nx\n0\n\n"),
    bad_chunk("sends a chunk's size that does not end", b"0" * 5000),
    bad_chunk("sends trailers that do not end", b"0\r\n" + b"x-a: 1\r\n" * 3000),
    bad_chunk("sends a trailer that is no field", b"0\r\nno field\r\n\r\n"),
    row(
        "claims a chunk of a petabyte, and closes",
        (
            plays(JSON_HEAD + b"3ffffffffffff\r\n{", close),
            plays(event_stream_head() + chunk(EVENT) + b"3ffffffffffff\r\nd", close),
        ),
        BROKEN,
        BROKEN_STREAM,
    ),
    row(
        "sends trailers",
        (
            plays(JSON_HEAD + chunk(COMPLETION) + TRAILERS),
            plays(GOOD_STREAM.removesuffix(LAST_CHUNK) + TRAILERS),
        ),
        comes(COMPLETION),
        comes(FLOW),
    ),
    row(
        "sends more than its length",
        (
            plays(GOOD + SECRET),
            plays(head(200, EVENTS, f"content-length: {len(FLOW)}") + FLOW + SECRET),
        ),
        comes(COMPLETION, kept=False),
        comes(FLOW, kept=False),
    ),
    row(
        "sends more behind the last chunk",
        (
            plays(JSON_HEAD + chunk(COMPLETION) + LAST_CHUNK + SECRET),
            plays(GOOD_STREAM + SECRET),
        ),
        comes(COMPLETION, kept=False),
        comes(FLOW, kept=False),
    ),
    row(
        "says more a while after its reply",
        (
            plays(GOOD, settle, SECRET, settle),
            plays(GOOD_STREAM, settle, SECRET, settle),
        ),
        comes(COMPLETION, kept=False),
        comes(FLOW, kept=False),
    ),
    row(
        "sends two replies to one request",
        (plays(GOOD + whole(SECRET)), plays(GOOD_STREAM + whole(SECRET))),
        comes(COMPLETION, kept=False),
        comes(FLOW, kept=False),
    ),
    row(
        "sends a second reply a while after the first",
        (
            plays(GOOD, settle, whole(SECRET), settle),
            plays(GOOD_STREAM, settle, whole(SECRET), settle),
        ),
        comes(COMPLETION, kept=False),
        comes(FLOW, kept=False),
    ),
    row(
        "sends a body with 204",
        plays(head(204, JSON) + SECRET),
        UNFIT,
    ),
)
