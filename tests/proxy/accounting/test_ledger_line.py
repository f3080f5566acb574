from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.accounting.ledger_line import HEADER, decode, encode
from proxy.core.types import Attempt, Record
from proxy.storage.requests import COLUMNS

EPOCH_S = 1_790_000_000.0


def a_record() -> Record:
    record = Record("req_1", "chat", 1000.0, client_request_id="theirs")
    record.tenant = "team"
    record.ended_at = 1002.5
    return record


def as_row(record: Record) -> dict[str, object]:
    rows, broken = decode([encode(record, EPOCH_S).rstrip(b"\n")], HEADER)
    assert broken == []
    (row,) = rows
    return dict(zip((*COLUMNS, "attempts"), row, strict=True))


def test_every_column_gets_what_the_record_says() -> None:
    record = a_record()
    facts = {
        "parent_id": "req_0",
        "depth": 3,
        "key": "key_a",
        "end_user": "somebody",
        "dialect": "openai-chat",
        "model": "qwen",
        "provider": "gpu",
        "upstream_model": "Qwen/Qwen",
        "status": 502,
        "code": "upstream_error",
        "stream": True,
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "cached_tokens": 3,
        "cache_write_tokens": 4,
        "reasoning_tokens": 5,
        "usage_source": "estimate",
        "cost_usd": 0.25,
        "cost": 0.23,
        "currency": "EUR",
        "first_byte_at": 1000.25,
        "queue_s": 0.125,
        "upstream_wait_s": 0.0625,
        "cache": "miss",
        "bytes_in": 11,
        "bytes_out": 12,
        "user_agent": "OpenAI/Python",
        "source": "agents",
    }
    for name, value in facts.items():
        setattr(record, name, value)
    record.attempts = [
        Attempt("gpu", "Qwen/Qwen", 503, "model_loading"),
        Attempt("b", None),
    ]
    row = as_row(record)
    same = facts.keys() & set(COLUMNS)
    assert {name: row[name] for name in same} == {name: facts[name] for name in same}
    assert {name: row[name] for name in row.keys() - same} == {
        "id": "req_1",
        "client_request_id": "theirs",
        "started_us": int((1000.0 + EPOCH_S) * 1e6),
        "tenant": "team",
        "key_id": "key_a",
        "endpoint": "chat",
        "duration_us": 2_500_000,
        "first_token_us": 250_000,
        "queue_us": 125_000,
        "overhead_us": 62_500,
        "attempts": [
            ["gpu", "Qwen/Qwen", 503, "model_loading"],
            ["b", None, None, None],
        ],
    }


def test_of_a_stream_the_wait_for_its_first_byte_is_no_overhead() -> None:
    record = a_record()
    record.stream, record.first_byte_at, record.ended_at = True, 1003.0, 1009.0
    record.upstream_wait_s, record.overhead_s = 0.5, 0.25
    assert as_row(record)["overhead_us"] == 250_000


def test_a_record_that_ended_at_once_is_a_line() -> None:
    record = Record("req_1", "models", 1000.0)
    row = as_row(record)
    assert (row["duration_us"], row["first_token_us"], row["overhead_us"]) == (
        0,
        None,
        0,
    )
    assert row["attempts"] == []


@pytest.mark.parametrize("text", ["\ud800", "x" * 100_000, "\ud800" * 5000])
def test_texts_that_are_odd_or_long_are_made_fit(text: str) -> None:
    record = a_record()
    record.model = record.user_agent = record.end_user = text
    record.attempts = [Attempt(text, text, 200, None) for _ in range(50)]
    line = encode(record, EPOCH_S)
    assert len(line) < 8192
    assert line.count(b"\n") == 1
    row = as_row(record)
    assert row["id"] == "req_1"
    assert len(str(row["model"])) <= 129


def test_nothing_in_a_text_makes_a_line_of_its_own_or_a_nul() -> None:
    record = a_record()
    record.model = 'a\n["b"]\r\x00\\u0000'
    assert encode(record, EPOCH_S).count(b"\n") == 1
    assert as_row(record)["model"] == 'a\n["b"]\r\\u0000'


def test_a_file_of_another_version_is_read_by_its_own_names() -> None:
    header = orjson.dumps(["provider", "id", "gone", "tenant"]) + b"\n"
    rows, broken = decode([b'["gpu","req_1",7,"team"]'], header)
    assert broken == []
    row = dict(zip((*COLUMNS, "attempts"), rows[0], strict=True))
    assert (row["id"], row["provider"], row["tenant"]) == ("req_1", "gpu", "team")
    assert (row["depth"], row["stream"], row["usage_source"], row["attempts"]) == (
        0,
        False,
        "none",
        (),
    )


@pytest.mark.parametrize(
    "junk", [b"", b"{", b"[]", b"[1],[2]", b"\x00\xff", b'"x"', b"7"]
)
def test_junk_is_told_from_rows(junk: bytes) -> None:
    good = encode(a_record(), EPOCH_S).rstrip(b"\n")
    rows, broken = decode([good, junk, good], HEADER)
    assert (len(rows), broken) == (2, [junk])


@pytest.mark.parametrize("wrong", [{"cost_usd": "free"}, {"endpoint": ["chat"]}])
def test_a_line_with_values_of_other_types_is_no_row(wrong: dict[str, Any]) -> None:
    good = encode(a_record(), EPOCH_S).rstrip(b"\n")
    [row], _ = decode([good], HEADER)
    for name, value in wrong.items():
        row[COLUMNS.index(name)] = value
    line = orjson.dumps(row)
    rows, broken = decode([good, line], HEADER)
    assert (len(rows), broken) == (1, [line])


def test_without_a_header_nothing_is_a_row() -> None:
    assert decode([b"[1]"], b"") == ([], [b"[1]"])


def test_of_records_of_one_kind_the_line_is_the_same_as_ever() -> None:
    record = a_record()
    record.tenant, record.user_agent = "50 % off", 'say "%d"'
    record.model, record.provider, record.upstream_model = "qwen", "gpu", "Qwen/Qwen"
    record.attempts = [Attempt("gpu", "Qwen/Qwen", 200)]
    record.usage_source, record.status = "upstream", 200
    memo: dict[object, Any] = {}
    for n in range(1, 4):
        record.id, record.started_at = f"req_{n}", 1000.0 + n / 7
        record.first_byte_at = record.started_at + n / 3
        record.ended_at = record.first_byte_at + n * 1e-5
        record.upstream_wait_s = 0.3 * n * n
        record.prompt_tokens, record.completion_tokens = n, 10 * n
        record.cost_usd = (n - 1) * 1.5e-7
        record.bytes_in, record.bytes_out = 100 * n, 1000 * n
        record.memo = None
        plain = encode(record, EPOCH_S)
        record.memo = memo
        assert decode([encode(record, EPOCH_S).rstrip()], HEADER) == decode(
            [plain.rstrip()], HEADER
        )
    assert len(memo) == 1


def test_what_is_too_long_to_be_remembered_is_shortened_each_time() -> None:
    record = a_record()
    record.user_agent, record.memo = "x" * 5000, {}
    record.prompt_tokens = record.completion_tokens = 1
    record.cost_usd, record.first_byte_at = 0.0, 1001.0
    assert as_row(record)["user_agent"] == "x" * 128 + "…"
    assert record.memo == {}
