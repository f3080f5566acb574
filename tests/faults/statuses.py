"""Rows of statuses that are errors, with bodies that are JSON, junk and unfinished."""

from __future__ import annotations

import json

from tests.faults.row import (
    BROKEN,
    FAILED,
    JSON,
    LATE,
    NO_ANSWER,
    STALLED,
    Again,
    End,
    Outcome,
    Row,
    refused,
    row,
)
from tests.faults.steps import close, drip, hang, plays, reset
from tests.parts.http_text import head, whole

SAID = json.dumps({
    "error": {"message": "not so", "type": "odd_type", "code": "odd", "param": None}
}).encode()  # fmt: skip
LOADING = b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'
DRIPPING = head(500, JSON, f"content-length: {1 << 20}")
JUNK = b"\x00\xff<<<not JSON"
AUTH = refused(502, "upstream_auth_failed", kept=True, again=Again.ANOTHER)
LIMITED = refused(429, "upstream_rate_limited", kept=True, again=Again.ANOTHER)


def answers(status: int, said: Outcome, junk: Outcome) -> tuple[Row, Row]:
    return (
        row(f"answers {status}", plays(whole(SAID, status=status)), said),
        row(
            f"answers {status} with junk",
            plays(whole(JUNK, status=status, kind="text/plain")),
            junk,
        ),
    )


def passes(status: int, again: Again = Again.NOBODY) -> Outcome:
    """The caller's own mistake, as the provider has told it."""
    return Outcome(End.COMES, status, "invalid_field", SAID, kept=True, again=again)


def refuses(status: int, again: Again = Again.NOBODY) -> Outcome:
    return refused(status, "invalid_field", kept=True, again=again)


ROWS: tuple[Row, ...] = (
    *answers(400, passes(400), refuses(400)),
    *answers(401, AUTH, AUTH),
    *answers(403, AUTH, AUTH),
    *answers(404, passes(404, Again.ANOTHER), refuses(404, Again.ANOTHER)),
    *answers(413, passes(413), refuses(413)),
    *answers(429, LIMITED, LIMITED),
    *answers(500, NO_ANSWER, NO_ANSWER),
    *answers(502, FAILED, FAILED),
    *answers(503, FAILED, FAILED),
    *answers(504, FAILED, FAILED),
    *answers(529, FAILED, FAILED),
    row(
        "answers 503, as it loads the model",
        plays(whole(LOADING, status=503)),
        refused(503, "model_loading", kept=True, again=Again.THE_SAME),
        lasts=True,
    ),
    row(
        "answers 500, and closes within the body",
        plays(whole(SAID, status=500)[:-5], close),
        BROKEN,
    ),
    row(
        "answers 400, and resets within the body",
        plays(whole(SAID, status=400)[:-5], reset),
        BROKEN,
    ),
    row(
        "answers 500, and stops within the body",
        plays(whole(SAID, status=500)[:-5], hang),
        STALLED,
    ),
    row(
        "answers 500, a little at a time, without end",
        plays(DRIPPING, drip(b" ", forever=True)),
        LATE,
    ),
    row(
        "answers 500 with 2 MiB",
        plays(whole(b"x" * (2 << 20), status=500, kind="text/plain")),
        NO_ANSWER,
    ),
    row(
        "answers 413 before it has read the request, and closes",
        plays(head(413, JSON, f"content-length: {len(SAID)}") + SAID, close),
        Outcome(End.COMES, 413, "invalid_field", SAID),
        early=True,
        padding=24 << 20,
    ),
)
