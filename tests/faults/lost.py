"""Rows of providers that close or reset the connection, and of connections kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.row import (
    BROKEN,
    CHUNKED,
    COMPLETION,
    FLOW,
    GOOD,
    GOOD_HEAD,
    GOOD_STREAM,
    JSON,
    UNFIT,
    Again,
    Row,
    comes,
    row,
    told,
)
from tests.faults.steps import close, on_used, plays, reset, settle, stop_reading
from tests.parts.http_text import chunk, event_stream_head, head, post
from tests.parts.scripts import BODY, EVENT, answers

if TYPE_CHECKING:  # it needs pytest, and the page is written without
    from tests.parts.inside import Site

MEGABYTE = 1 << 20
JSON_CHUNKS = head(200, JSON, CHUNKED) + chunk(COMPLETION)
JSON_TO_CLOSE = head(200, JSON).replace(b"/1.1", b"/1.0") + COMPLETION
STREAM_TO_CLOSE = b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
SAYS_CLOSE = b"\r\nconnection: close\r\ncontent-type:"
CUT_STREAM = told("upstream_stream_broken", EVENT)
CUT_AT_ONCE = told("upstream_stream_broken", again=Again.THE_SAME)


async def leave_one_idle(site: Site) -> None:
    """Leave a connection in the pool."""
    site.upstream.script = answers(GOOD)
    await site.ask(post("/v1/chat/completions", BODY))


async def refuse(site: Site) -> None:
    site.upstream.stop_listening()


ROWS: tuple[Row, ...] = (
    row("refuses the connection", plays(), UNFIT, first=refuse),
    row("closes instead of answering", plays(close), BROKEN),
    row("resets instead of answering", plays(reset), BROKEN),
    row("closes in the middle of the head", plays(GOOD[:30], close), BROKEN),
    row("resets in the middle of the head", plays(GOOD[:30], reset), BROKEN),
    row(
        "closes after the head",
        (plays(GOOD_HEAD, close), plays(event_stream_head(), close)),
        BROKEN,
        CUT_AT_ONCE,
    ),
    row(
        "resets after the head",
        (plays(GOOD_HEAD, reset), plays(event_stream_head(), reset)),
        BROKEN,
        CUT_AT_ONCE,
    ),
    row(
        "closes in the middle of the body",
        (
            plays(GOOD[:-5], close),
            plays(event_stream_head(), chunk(EVENT) + chunk(EVENT[:9]), close),
        ),
        BROKEN,
        CUT_STREAM,
    ),
    row(
        "resets in the middle of the body",
        (
            plays(GOOD[:-5], reset),
            plays(event_stream_head(), chunk(EVENT) + chunk(EVENT[:9]), reset),
        ),
        BROKEN,
        CUT_STREAM,
    ),
    row(
        "closes in the middle of a chunk",
        (
            plays(JSON_CHUNKS[:-9], close),
            plays(event_stream_head(), chunk(EVENT) + chunk(EVENT)[:-9], close),
        ),
        BROKEN,
        CUT_STREAM,
    ),
    row(
        "resets in the middle of a chunk",
        (
            plays(JSON_CHUNKS[:-9], reset),
            plays(event_stream_head(), chunk(EVENT) + chunk(EVENT)[:-9], reset),
        ),
        BROKEN,
        CUT_STREAM,
    ),
    row(
        "closes without the last chunk",
        (plays(JSON_CHUNKS, close), plays(GOOD_STREAM[: -len(b"0\r\n\r\n")], close)),
        BROKEN,
        comes(FLOW, kept=False),
    ),
    row(
        "sends less than its length, and closes",
        (
            plays(head(200, JSON, "content-length: 99") + COMPLETION, close),
            plays(
                head(200, "content-type: text/event-stream", "content-length: 9999"),
                EVENT,
                close,
            ),
        ),
        BROKEN,
        CUT_STREAM,
    ),
    row(
        "ends its body by closing, as HTTP/1.0 does",
        (plays(JSON_TO_CLOSE, close), plays(STREAM_TO_CLOSE, FLOW, close)),
        comes(COMPLETION, kept=False),
        comes(FLOW, kept=False),
    ),
    row(
        "ends its body by resetting, without a length",
        (plays(JSON_TO_CLOSE, reset), plays(STREAM_TO_CLOSE, EVENT, reset)),
        BROKEN,
        CUT_STREAM,
    ),
    row(
        "says `connection: close` and does not close",
        (
            plays(GOOD.replace(b"\r\ncontent-type:", SAYS_CLOSE)),
            plays(GOOD_STREAM.replace(b"\r\ncontent-type:", SAYS_CLOSE)),
        ),
        comes(COMPLETION, kept=False),
        comes(FLOW, kept=False),
    ),
    row(
        "closes right after its reply",
        (plays(GOOD, close), plays(GOOD_STREAM, close)),
        comes(COMPLETION, kept=False),
        comes(FLOW, kept=False),
    ),
    row(
        "closes a kept connection as it is used again",
        (
            on_used(plays(close), plays(GOOD)),
            on_used(plays(close), plays(GOOD_STREAM)),
        ),
        comes(COMPLETION, asked=2),
        comes(FLOW, asked=2),
        first=leave_one_idle,
    ),
    row(
        "resets a kept connection as it is used again",
        (
            on_used(plays(reset), plays(GOOD)),
            on_used(plays(reset), plays(GOOD_STREAM)),
        ),
        comes(COMPLETION, asked=2),
        comes(FLOW, asked=2),
        first=leave_one_idle,
    ),
    row(
        "answers before it has read the request, then reads on",
        (plays(GOOD), plays(GOOD_STREAM)),
        comes(COMPLETION, kept=None),
        comes(FLOW, kept=None),
        early=True,
        padding=4 * MEGABYTE,
    ),
    row(
        "answers before it has read the request, and closes",
        (
            plays(stop_reading, GOOD, settle, close),
            plays(stop_reading, GOOD_STREAM, settle, close),
        ),
        comes(COMPLETION, kept=False),
        comes(FLOW, kept=False),
        early=True,
        padding=24 * MEGABYTE,
    ),
)
