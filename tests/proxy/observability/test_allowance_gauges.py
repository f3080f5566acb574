from __future__ import annotations

from collections import Counter

import pytest
from prometheus_client import CollectorRegistry

from proxy.observability.allowance_gauges import AllowanceGauges, Kept


def registry(refused: Counter[str], kept: Kept | None) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(AllowanceGauges(refused, lambda: 0.25, lambda: kept))
    return made


def test_those_held_off_are_counted_by_code() -> None:
    found = registry(Counter({"budget_exceeded": 2}), None)
    told = {
        code: found.get_sample_value("local_ai_limited_total", {"code": code})
        for code in ("budget_exceeded", "rate_limit_exceeded", "token_limit_exceeded")
    }
    assert list(told.values()) == [2, 0, 0]
    assert found.get_sample_value("local_ai_budget_aside_usd") == 0.25


@pytest.mark.parametrize("is_on", [True, False])
def test_of_the_cache_only_what_is_there_is_told(is_on: bool) -> None:
    kept = Kept(Counter({"hit": 3}), 2, 99) if is_on else None
    found = registry(Counter(), kept)
    hits = found.get_sample_value("local_ai_cache_total", {"result": "hit"})
    names = ("local_ai_cache_replies", "local_ai_cache_bytes")
    told = [hits, *(found.get_sample_value(name) for name in names)]
    assert told == ([3, 2, 99] if is_on else [None, None, None])
