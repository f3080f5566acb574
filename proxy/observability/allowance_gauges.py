"""Limits, budgets and the response cache as metrics tell of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from msgspec import Struct
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

_CODES: Final = ("rate_limit_exceeded", "token_limit_exceeded", "budget_exceeded")
_RESULTS: Final = ("hit", "miss", "bypass")


class Kept(Struct, frozen=True):
    """How often the cache has answered, by result, and what it holds."""

    counts: Mapping[str, int]
    replies: int
    size_bytes: int


class AllowanceGauges(Collector):
    """Read at the moment somebody asks; nothing is told of a cache that is off."""

    def __init__(
        self,
        refused: Mapping[str, int],
        aside_usd: Callable[[], float],
        kept: Callable[[], Kept | None],
    ) -> None:
        """`refused` are requests by the code that held them off."""
        self._refused = refused
        self._aside_usd = aside_usd
        self._kept = kept

    def collect(self) -> Iterator[Metric]:
        limited = CounterMetricFamily(
            "local_ai_limited_total",
            "Requests that a limit or a budget held off.",
            labels=("code",),
        )
        for code in _CODES:
            limited.add_metric((code,), self._refused.get(code, 0))
        yield limited
        yield GaugeMetricFamily(
            "local_ai_budget_aside_usd",
            "Money that is set aside for requests under way, in US dollars.",
            value=self._aside_usd(),
        )
        kept = self._kept()
        if kept is not None:
            yield from _of_cache(kept)


def _of_cache(kept: Kept) -> Iterator[Metric]:
    results = CounterMetricFamily(
        "local_ai_cache_total",
        "Requests to models by what the response cache did for them.",
        labels=("result",),
    )
    for result in _RESULTS:
        results.add_metric((result,), kept.counts.get(result, 0))
    yield results
    yield GaugeMetricFamily(
        "local_ai_cache_replies", "Replies that are kept.", value=kept.replies
    )
    yield GaugeMetricFamily(
        "local_ai_cache_bytes", "Memory that they take.", value=kept.size_bytes
    )
