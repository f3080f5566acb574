"""Rows of the ledger for tests: a usual request, and what differs."""

from __future__ import annotations

from typing import Any

from proxy.storage.requests import COLUMNS

NOON_US = 1_790_000_000_000_000 // 86_400_000_000 * 86_400_000_000 + 43_200_000_000
DAY_US = 86_400_000_000

USUAL: dict[str, Any] = {
    "client_request_id": None,
    "parent_id": None,
    "depth": 0,
    "started_us": NOON_US,
    "tenant": "default",
    "key_id": "key_a",
    "end_user": None,
    "endpoint": "chat",
    "dialect": "openai-chat",
    "model": "qwen",
    "provider": "gpu",
    "upstream_model": "Qwen/Qwen",
    "status": 200,
    "code": None,
    "stream": False,
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "cached_tokens": None,
    "cache_write_tokens": None,
    "reasoning_tokens": 5,
    "usage_source": "upstream",
    "cost_usd": 0.000123,
    "cost": 0.0001,
    "currency": "EUR",
    "duration_us": 1_000_000,
    "first_token_us": 2_000,
    "queue_us": 0,
    "overhead_us": 300,
    "cache": None,
    "bytes_in": 10,
    "bytes_out": 20,
    "user_agent": "OpenAI/Python",
    "source": None,
}
ATTEMPT = ["gpu", "Qwen/Qwen", 200, None]


def row(id_: str, attempts: list[list[Any]] | None = None, **changes: Any) -> list[Any]:
    """The values of one request as the spool hands them on."""
    values = {"id": id_, **USUAL, **changes}
    assert values.keys() == set(COLUMNS)
    tried = [ATTEMPT] if attempts is None else attempts
    return [*(values[name] for name in COLUMNS), tried]


def rows(count: int, prefix: str = "req_", **changes: Any) -> list[list[Any]]:
    return [row(f"{prefix}{number:06}", **changes) for number in range(count)]
