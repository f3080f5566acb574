"""An answer that is the gateway's own: no provider was asked, or none could say it."""

from __future__ import annotations

import orjson

from proxy.pipeline import heads
from proxy.pipeline.order import Course


def answer(course: Course, document: object, applied: str = "") -> None:
    """Answer a call with JSON; `applied` is what x-proxy-applied reports."""
    course.order = None
    fields = [*heads.of_request(course), ("content-type", "application/json")]
    if applied:
        fields.append(("x-proxy-applied", applied))
    course.record.code = None
    course.reply.whole(200, fields, orjson.dumps(document))
