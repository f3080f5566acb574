"""Metrics of one gateway: counted per request, gauges read when somebody asks.

Everything a caller can put into a label is bounded: model names that are neither
configured nor found count as "other", and no key or user text is a label.
Counting is plain arithmetic (1 µs a request); prometheus-client renders.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from proxy.core.types import Record
from proxy.observability.counts import Counts, Tally
from proxy.observability.exposition import render
from proxy.observability.gauges import Feeds, Gauges

OTHER: Final = "other"


class Metrics:
    """Counts finished requests and answers scrapes."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry(auto_describe=False)
        self._models: Container[str] = frozenset()
        # By what records remember their series: labels may change with the names.
        self._names = object()
        self._counts = Counts()
        self._gauges = Gauges()
        self.registry.register(self._counts)
        self.registry.register(self._gauges)

    def feed(self, feeds: Feeds) -> None:
        """Say where the gauges are read."""
        self._gauges.feeds = feeds
        self._counts.per_usd = feeds.per_usd

    def add(self, collector: Collector) -> None:
        """Answer what it collects, too."""
        self.registry.register(collector)

    def know_models(self, names: Container[str]) -> None:
        """Say which model names may be labels."""
        self._models = names
        self._names = object()

    def observe(self, record: Record) -> None:
        """Count a finished request."""
        memo = record.memo
        if memo is not None and (known := memo.get(self._names)) is not None:
            known.observe_plain(record)
            return
        counts, model = self._counts, record.model or ""
        if model and model not in self._models:
            model = OTHER
        key = (record.operation, model, record.provider or "", record.status)
        series = counts.known.get(key) or counts.series(*key)
        if memo is not None:
            memo[self._names] = series
        series.observe(record)
        if record.code is not None or len(record.attempts) > 1:
            counts.note_failures(record)

    def fast_path(self, taken: bool, reason: str) -> Tally:
        """Answer the count of requests that a door took, or left, and why.

        `reason` is one of a fixed few.
        """
        return self._counts.doors.setdefault((taken, reason), Tally())

    def exposition(self, accept: str | None = None) -> tuple[bytes, str]:
        """Answer all metrics and their content type: OpenMetrics when asked for."""
        return render(self.registry, accept)
