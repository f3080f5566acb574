"""Rows of replies that are good HTTP and bad answers."""

from __future__ import annotations

from tests.faults.row import (
    CHUNKED,
    COMPLETION,
    FAILED,
    GOOD,
    JSON,
    NO_ANSWER,
    Again,
    End,
    Outcome,
    Row,
    comes,
    row,
    told,
)
from tests.faults.steps import close, hang, plays
from tests.parts.http_text import LAST_CHUNK, chunk, event_stream_head, head, whole
from tests.parts.scripts import DONE, EVENT, stream

HTML = b"<!doctype html><html><title>LM Studio</title></html>"
PAGE = whole(HTML, kind="text/html; charset=utf-8")
ERROR = b'{"error":{"message":"out of memory","type":"server_error"}}'
REFUSAL = b'{"error":{"message":"no such field","type":"invalid_request_error"}}'
ERROR_EVENT = b"data: " + ERROR + b"\n\n"
COMMENT = b": working\n\n"
LARGE = 9 << 20
LARGE_EVENT = b'data: {"choices":[{"delta":{"content":"' + b"x" * LARGE + b'"}}]}\n\n'
LARGE_BODY = b'{"object":"chat.completion","choices":[],"say":"' + b"x" * LARGE + b'"}'
TINY = b'data: {"n":1}\n\n'
MANY = 100_000
TOO_LARGE = told("upstream_stream_broken", EVENT)
UNENDED = told("upstream_stream_broken", EVENT, kept=True)

ROWS: tuple[Row, ...] = (
    row("answers 200 with an error in it", plays(whole(ERROR)), FAILED),
    row(
        "answers 200 with a refusal in it",
        plays(whole(REFUSAL)),
        Outcome(End.COMES, 400, "invalid_field", REFUSAL, kept=True),
    ),
    row("answers with a web page", plays(PAGE), NO_ANSWER),
    row(
        "sends one event of 9 MiB",
        (
            plays(whole(LARGE_BODY)),
            plays(
                event_stream_head() + chunk(EVENT) + chunk(LARGE_EVENT) + chunk(DONE)
            ),
        ),
        comes(LARGE_BODY),
        TOO_LARGE,
    ),
    row(
        "closes in the middle of a reply of 9 MiB",
        (
            plays(whole(LARGE_BODY)[:-9], close),
            plays(event_stream_head() + chunk(EVENT) + chunk(LARGE_EVENT)[:-9], close),
        ),
        Outcome(End.CUT, 200, "upstream_error", LARGE_BODY[:-9]),
        TOO_LARGE,
    ),
    row(
        "sends 100,000 tiny events",
        (
            plays(
                head(200, JSON, CHUNKED),
                chunk(b'{"n":['),
                *(chunk(b"1,\n") * 1000,) * (MANY // 1000),
                chunk(b"1]}") + LAST_CHUNK,
            ),
            plays(
                event_stream_head(),
                *(chunk(TINY) * 1000,) * (MANY // 1000),
                chunk(DONE) + LAST_CHUNK,
            ),
        ),
        comes(b'{"n":[' + b"1,\n" * MANY + b"1]}"),
        comes(TINY * MANY + DONE),
    ),
    row(
        "ends its stream without the terminator",
        plays(stream(EVENT)),
        UNENDED,
    ),
    row(
        "ends its stream within an event",
        plays(stream(EVENT, EVENT[:-1])),
        UNENDED,
    ),
    row(
        "sends no event at all, or no byte in chunks",
        (plays(head(200, JSON, CHUNKED) + LAST_CHUNK), plays(stream())),
        NO_ANSWER,
        told("upstream_stream_broken", kept=True, again=Again.THE_SAME),
    ),
    row(
        "sends comments and no event",
        plays(stream(COMMENT, COMMENT)),
        told("upstream_stream_broken", COMMENT * 2, kept=True),
    ),
    row(
        "sends an error in its stream, and ends it",
        plays(stream(EVENT, ERROR_EVENT, DONE)),
        Outcome(
            End.COMES, 200, "upstream_error", EVENT + ERROR_EVENT + DONE, kept=True
        ),
    ),
    row(
        "sends an error in its stream, without the terminator",
        plays(stream(EVENT, ERROR_EVENT)),
        Outcome(End.COMES, 200, "upstream_error", EVENT + ERROR_EVENT, kept=True),
    ),
    row(
        "sends an error in its stream, and closes",
        plays(event_stream_head() + chunk(EVENT + ERROR_EVENT), close),
        Outcome(End.COMES, 200, "upstream_error", EVENT + ERROR_EVENT),
    ),
    row(
        "sends on after the terminator",
        plays(stream(EVENT, DONE, EVENT)),
        comes(EVENT + DONE + EVENT),
    ),
    row("answers JSON to a stream", plays(GOOD), comes(COMPLETION)),
    row(
        "hangs after the terminator",
        plays(event_stream_head() + chunk(EVENT + DONE), hang),
        comes(EVENT + DONE, kept=False),
        lasts=True,
    ),
    row("answers an empty 200", plays(whole(b"")), NO_ANSWER),
    row("answers 204", plays(head(204)), NO_ANSWER),
    row(
        "answers JSON that is cut off, though its frame is whole",
        plays(whole(COMPLETION[:-9])),
        NO_ANSWER,
    ),
)
