"""Requests and usage as they are shown: plain names and values, ready for JSON.

Times are told in UTC as text, spans in milliseconds. Built from a row in the order of the
ledger's columns, its attempts at the end, so that what is stored and what has just
finished look alike.
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from msgspec.structs import asdict

from proxy.storage.bodies import BodyRow
from proxy.storage.requests import COLUMNS, RequestRow
from proxy.storage.usage import UsageRow

_SPANS: Final[Mapping[str, str]] = {
    "duration_us": "duration_ms",
    "first_token_us": "first_token_ms",
    "queue_us": "queue_ms",
    "overhead_us": "overhead_ms",
}
_NAMES: Final[Mapping[str, str]] = {"key_id": "key", "started_us": "time", **_SPANS}
_ATTEMPT: Final = ("provider", "upstream_model", "status", "code")


def shown_request(row: Sequence[Any]) -> dict[str, Any]:
    shown = {
        _NAMES.get(name, name): _shown(name, value)
        for name, value in zip(COLUMNS, row, strict=False)
    }
    shown["attempts"] = [
        dict(zip(_ATTEMPT, one, strict=True)) for one in row[len(COLUMNS)]
    ]
    return shown


def shown_row(row: RequestRow) -> dict[str, Any]:
    """As `shown_request`, of a row that was read."""
    values = [getattr(row, name) for name in COLUMNS]
    tried = [[getattr(one, name) for name in _ATTEMPT] for one in row.attempts]
    return shown_request([*values, tried])


def shown_bodies(row: BodyRow) -> dict[str, Any]:
    """What was asked and answered: as text, or in base64 where it is none."""
    return {
        "request": _shown_body(row.request, row.request_bytes),
        "reply": _shown_body(row.reply, row.reply_bytes),
    }


def shown_usage(row: UsageRow, by: Iterable[str]) -> dict[str, Any]:
    """Sums of a group, named by what was grouped `by`."""
    facts = asdict(row)
    names = {_NAMES.get(name, name): facts[name] or None for name in by}
    sums = {
        name: value
        for name, value in facts.items()
        if name not in ("day", "tenant", "key_id", "model", "provider", "duration_us")
    }
    sums["cost_usd"] = round(row.cost_usd, 9)
    return {**names, **sums, "duration_ms": row.duration_us / 1000}


def _shown_body(kept: bytes, size_bytes: int) -> dict[str, Any]:
    is_cut = len(kept) < size_bytes
    facts = {"bytes": size_bytes, "truncated": is_cut}
    try:
        # The last character may be cut in two.
        text = codecs.getincrementaldecoder("utf-8")().decode(kept, not is_cut)
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(kept).decode("ascii"), **facts}
    return {"text": text, **facts}


def _shown(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "started_us":
        moment = datetime.fromtimestamp(value / 1e6, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
    if name in _SPANS:
        return value / 1000
    return bool(value) if name == "stream" else value
