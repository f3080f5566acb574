"""Editing a JSON object whose members' places are known: one copy, no parsing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import NamedTuple


class Span(NamedTuple):
    """Where a member lies in the body: its key, and its value up to `end`."""

    key: int
    value: int
    end: int


def splice(
    body: bytes,
    spans: Mapping[str, Span],
    changed: Mapping[str, bytes],
    dropped: Collection[str],
) -> bytes:
    """Copy `body` with members changed to new JSON text, and others taken out.

    `spans` are in the order they lie; changed names without one are added behind
    the last, dropped ones must have one.
    """
    view = memoryview(body)
    order = list(spans.items())
    parts: list[bytes | memoryview] = []
    at = 0
    kept = 0
    for index, (name, span) in enumerate(order):
        if name in dropped:
            start, stop = _with_comma(order, index, is_first=not kept)
            parts.append(view[at:start])
            at = stop
            continue
        kept += 1
        if name in changed:
            parts += view[at : span.value], changed[name]
            at = span.end
    last = order[-1][1].end if order else body.index(b"{") + 1
    parts.append(view[at:last])
    for name, text in changed.items():
        if name not in spans:
            parts += b"," if kept else b"", json.dumps(name).encode(), b":", text
            kept += 1
    parts.append(view[last:])
    return b"".join(parts)


def _with_comma(
    order: list[tuple[str, Span]], index: int, *, is_first: bool
) -> tuple[int, int]:
    """Find what to take out with a member: the comma before it, or the one after."""
    span = order[index][1]
    if not is_first:
        return order[index - 1][1].end, span.end
    if index + 1 < len(order):
        return span.key, order[index + 1][1].key
    return span.key, span.end
