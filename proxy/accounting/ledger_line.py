"""A record as a line of the spool, and back: JSON, in the order of the ledger's columns.

Written for each request before its reply ends, so it is written for speed (bench: CPU
per request); what is odd about a text is looked at only where it shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import trunc
from typing import Any, Final

import orjson

from providers.base import ASKABLE
from proxy.core.types import Record
from proxy.observability.text import printable
from proxy.storage.requests import COLUMNS

Row = list[Any]

# What stands first in each file: one from another version has its own order.
HEADER: Final = orjson.dumps([*COLUMNS, "attempts"]) + b"\n"

_WIDTH: Final = len(COLUMNS) + 1
_ENDPOINT: Final = COLUMNS.index("endpoint")
_DIALECT: Final = COLUMNS.index("dialect")
_COST_USD: Final = COLUMNS.index("cost_usd")
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_AMOUNTS: Final = frozenset({int, float, type(None)})
_COST: Final = COLUMNS.index("cost")
_CURRENCY: Final = COLUMNS.index("currency")
_LONGEST_LINE: Final = 4096
_LONGEST_TEXT: Final = 128
_MOST_ATTEMPTS: Final = 8
# How many columns differ among records of one kind: they come first.
_VARYING: Final = COLUMNS.index("completion_tokens") + 1
_NEWLINE: Final = orjson.OPT_APPEND_NEWLINE
_dumps: Final = orjson.dumps
_LONG: Final = orjson.Fragment(b"")
_NOTHING: Final = {
    "depth": 0,
    "stream": False,
    "usage_source": "none",
    "queue_us": 0,
    "attempts": (),
}


def encode(record: Record, epoch_s: float) -> bytes:
    """`epoch_s` is what to add to the record's times for seconds since 1970."""
    memo = record.memo
    if memo is None or (rest := memo.get(encode) or _rest(record, memo)) is _LONG:
        return _whole(record, epoch_s)
    # What differs among records of one kind comes first of the columns.
    started_at = record.started_at
    took_s = record.ended_at - started_at  # type: ignore[operator]
    overhead_s = took_s - record.upstream_wait_s
    first_s = record.first_byte_at - started_at  # type: ignore[operator]
    return _dumps(
        (
            record.id,
            trunc((started_at + epoch_s) * 1e6),
            trunc(took_s * 1e6),
            trunc(first_s * 1e6),
            trunc(overhead_s * 1e6) if overhead_s > 0.0 else 0,
            record.cost_usd,
            record.bytes_in,
            record.bytes_out,
            record.prompt_tokens,
            record.completion_tokens,
            rest,
        ),
        None,
        _NEWLINE,
    )


def _rest(record: Record, memo: dict[object, Any]) -> orjson.Fragment:
    """What ends the line of all such records; _LONG where it cannot be written so."""
    try:
        text = _dumps(_values(record, 0.0)[_VARYING:])[1:-1]
    except TypeError:
        return _LONG
    if len(text) > _LONGEST_LINE // 2:
        return _LONG
    rest = memo[encode] = orjson.Fragment(text)
    return rest


def _whole(record: Record, epoch_s: float) -> bytes:
    values = _values(record, epoch_s)
    try:
        line = _dumps(values, None, _NEWLINE)
    except TypeError:  # a text that is no text: half of a character
        return _shortened(values)
    return line if len(line) <= _LONGEST_LINE else _shortened(values)


def row_of(record: Record, epoch_s: float, currency: str, per_usd: float) -> Row:
    """A record as the row that will be stored of it."""
    (row,), _ = decode([encode(record, epoch_s).rstrip()], HEADER)
    complete([row], currency, per_usd)
    return row


def _values(record: Record, epoch_s: float) -> tuple[Any, ...]:
    started_at, first_at = record.started_at, record.first_byte_at
    ended_at = record.ended_at or started_at
    # Of a stream only its beginning is ours alone: later its caller may be slow.
    spent_s = (first_at if record.stream and first_at else ended_at) - started_at
    overhead_s = spent_s - record.upstream_wait_s - record.queue_s
    if record.stream and record.overhead_s is not None:
        overhead_s = record.overhead_s  # its head may come long before its first byte
    return (
        record.id,
        trunc((started_at + epoch_s) * 1e6),
        trunc((ended_at - started_at) * 1e6),
        None if first_at is None else trunc((first_at - started_at) * 1e6),
        trunc(overhead_s * 1e6) if overhead_s > 0.0 else 0,
        record.cost_usd,
        record.bytes_in,
        record.bytes_out,
        record.prompt_tokens,
        record.completion_tokens,
        record.cached_tokens,
        record.cache_write_tokens,
        record.reasoning_tokens,
        record.client_request_id,
        record.parent_id,
        record.depth,
        record.tenant,
        record.key,
        record.end_user,
        record.operation,
        record.dialect,
        record.model,
        record.provider,
        record.upstream_model,
        record.status,
        record.code,
        1 if record.stream else 0,  # SQLite's driver is slow with anything but numbers
        record.usage_source,
        record.cost,
        record.currency,
        trunc(record.queue_s * 1e6),
        record.cache,
        record.user_agent,
        record.source,
        [
            (tried.provider, tried.upstream_model, tried.status, tried.code)
            for tried in record.attempts
        ],
    )


def _shortened(values: tuple[Any, ...]) -> bytes:
    *columns, tried = values
    return orjson.dumps(
        [
            *(_short(value) for value in columns),
            [[_short(value) for value in one] for one in tried[:_MOST_ATTEMPTS]],
        ],
        option=_NEWLINE,
    )


def _short(value: Any) -> Any:
    return printable(value, _LONGEST_TEXT) if isinstance(value, str) else value


def decode(lines: Iterable[bytes], header: bytes) -> tuple[list[Row], list[bytes]]:
    """Answer the rows, in the order of COLUMNS and attempts, and what is no row."""
    lines = list(lines)
    joined = b"[" + b",".join(lines) + b"]"
    try:
        found = orjson.loads(joined)
    except orjson.JSONDecodeError:
        return _decode_each(lines, header)
    if header != HEADER or len(found) != len(lines) or not all(map(_is_row, found)):
        return _decode_each(lines, header)
    if b"\\u0000" in joined:
        found = [_without_nul(row) for row in found]
    return found, []


def complete(rows: Iterable[list[Any]], currency: str, per_usd: float) -> None:
    """Fill in what follows from the rest, and need not be known when a request ends."""
    for row in rows:
        if row[_DIALECT] is None and (operation := ASKABLE.get(row[_ENDPOINT])):
            row[_DIALECT] = operation.dialect.value
        cost_usd = row[_COST_USD]
        if cost_usd is not None:
            row[_COST], row[_CURRENCY] = cost_usd * per_usd, currency


def _decode_each(
    lines: Iterable[bytes], header: bytes
) -> tuple[list[Row], list[bytes]]:
    rows: list[Row] = []
    broken: list[bytes] = []
    names = _names(header)
    for line in lines:
        try:
            row = dict(zip(names, orjson.loads(line), strict=True))
        except (ValueError, TypeError):
            broken.append(line)
            continue
        full = [row.get(name, _NOTHING.get(name)) for name in (*COLUMNS, "attempts")]
        if _is_row(full):
            rows.append(_without_nul(full))
        else:
            broken.append(line)
    return rows, broken


def _names(header: bytes) -> list[str]:
    try:
        return list(orjson.loads(header))
    except (ValueError, TypeError):
        return []  # nothing can be read by it


def _is_row(value: Any) -> bool:
    return (
        type(value) is list
        and len(value) == _WIDTH
        and _SCALARS.issuperset(map(type, value[:-1]))
        and type(value[_COST_USD]) in _AMOUNTS
    )


def _without_nul(row: Row) -> Row:
    """PostgreSQL's texts hold no NUL, and callers may send one."""
    return [
        value.replace("\0", "") if isinstance(value, str) else value for value in row
    ]
