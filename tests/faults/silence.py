"""Rows of providers that say nothing, or not enough. LIMITS_S are the rig's."""

from __future__ import annotations

from tests.faults.row import (
    CHUNKED,
    COMPLETION,
    FLOW,
    GOOD,
    GOOD_HEAD,
    GOOD_STREAM,
    JSON,
    LATE,
    STALLED,
    Row,
    comes,
    row,
    told,
)
from tests.faults.steps import drip, hang, plays, stop_reading
from tests.parts.http_text import chunk, event_stream_head, head
from tests.parts.scripts import DONE, EVENT

MEGABYTE = 1 << 20

ROWS: tuple[Row, ...] = (
    row("never answers", plays(hang), LATE),
    row("stops in the middle of the head", plays(GOOD[:30], hang), LATE),
    row(
        "sends its head byte by byte, without end",
        plays(GOOD[:20], drip(b"x-a: 1\r\n", forever=True)),
        LATE,
    ),
    row(
        "sends 103 again and again, and no reply",
        plays(drip(head(103, "link: </style.css>"), forever=True)),
        LATE,
    ),
    row(
        "stops after the head",
        (plays(GOOD_HEAD, hang), plays(event_stream_head(), hang)),
        LATE,
        told("upstream_timeout"),
    ),
    row(
        "stops in the middle of the body",
        (
            plays(GOOD[:-5], hang),
            plays(event_stream_head(), chunk(EVENT) + chunk(EVENT[:9]), hang),
        ),
        STALLED,
        told("upstream_timeout", EVENT),
    ),
    row(
        "stops in the middle of a chunk's size",
        (
            plays(head(200, JSON, CHUNKED), chunk(COMPLETION), b"2", hang),
            plays(event_stream_head(), chunk(EVENT), b"2", hang),
        ),
        STALLED,
        told("upstream_timeout", EVENT),
    ),
    row(
        "sends a little at a time, longer than `timeouts.whole`",
        (
            plays(GOOD_HEAD, drip(b" ", forever=True)),
            plays(
                event_stream_head(),
                drip(*(chunk(EVENT),) * 25),
                chunk(DONE) + b"0\r\n\r\n",
            ),
        ),
        LATE,
        comes(EVENT * 25 + DONE),
    ),
    row(
        "does not take the request",
        plays(stop_reading, hang),
        STALLED,
        early=True,
        padding=24 * MEGABYTE,
    ),
    row(
        "answers before it has read the request, and reads no further",
        (plays(stop_reading, GOOD, hang), plays(stop_reading, GOOD_STREAM, hang)),
        comes(COMPLETION, kept=False),
        comes(FLOW, kept=False),
        early=True,
        padding=24 * MEGABYTE,
    ),
)
