from __future__ import annotations

import pytest

from proxy.accounting.ledger_line import row_of
from proxy.accounting.shapes import shown_bodies, shown_request, shown_usage
from proxy.core.types import Attempt
from proxy.storage.bodies import BodyRow
from proxy.storage.usage import UsageRow
from tests.parts.ledger_rows import row
from tests.parts.records import record_of


def test_a_row_is_shown_by_plain_names() -> None:
    shown = shown_request(row("req_1", stream=1, overhead_us=None))
    assert (shown["id"], shown["key"], shown["stream"]) == ("req_1", "key_a", True)
    assert shown["time"] == "2026-09-21T12:00:00.000000Z"
    assert (shown["duration_ms"], shown["overhead_ms"]) == (1000.0, None)
    assert not [name for name in shown if name.endswith("_us")]


def test_what_has_just_finished_looks_like_what_is_stored() -> None:
    record = record_of(id="req_1", operation="messages", started_at=5.0, cost_usd=2.0)
    record.ended_at = 6.5
    record.attempts.append(Attempt("box", None, 503, "model_loading"))
    shown = shown_request(row_of(record, 1_790_000_000.0, "EUR", 0.5))
    assert shown.keys() == shown_request(row("req_1")).keys()
    assert shown["time"] == "2026-09-21T14:13:25.000000Z"
    assert (shown["dialect"], shown["duration_ms"]) == ("anthropic-messages", 1500.0)
    assert (shown["cost_usd"], shown["cost"], shown["currency"]) == (2.0, 1.0, "EUR")
    assert shown["attempts"] == [
        {
            "provider": "box",
            "upstream_model": None,
            "status": 503,
            "code": "model_loading",
        }
    ]


def test_sums_are_named_by_what_they_are_grouped_by() -> None:
    sums = UsageRow(key_id="key_a", requests=2, cost_usd=0.1 + 0.2, duration_us=1500)
    shown = shown_usage(sums, ("key_id", "model"))
    assert (shown["key"], shown["model"], shown["requests"]) == ("key_a", None, 2)
    assert (shown["cost_usd"], shown["duration_ms"]) == (0.3, 1.5)
    assert "tenant" not in shown


@pytest.mark.parametrize(
    ("kept", "size", "shown"),
    [
        (b"abc", 3, {"text": "abc", "bytes": 3, "truncated": False}),
        ("aä".encode()[:2], 9, {"text": "a", "bytes": 9, "truncated": True}),
        ("aä".encode()[:2], 2, {"base64": "YcM=", "bytes": 2, "truncated": False}),
        (b"", 0, {"text": "", "bytes": 0, "truncated": False}),
        (b"\xff", 5, {"base64": "/w==", "bytes": 5, "truncated": True}),
    ],
)
def test_bodies_are_text_or_base64(
    kept: bytes, size: int, shown: dict[str, object]
) -> None:
    row = BodyRow(
        request_id="r", kept_at=0.0, request=kept, request_bytes=size, reply=b"",
        reply_bytes=0,
    )  # fmt: skip
    assert shown_bodies(row)["request"] == shown
