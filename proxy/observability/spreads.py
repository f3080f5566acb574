"""Histograms: how times are spread, counted by plain arithmetic."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from prometheus_client.metrics_core import HistogramMetricFamily, Metric


class Spread:
    """A histogram's counts; the last is for what is beyond the last bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus has them."""
        rows: list[tuple[str, float]] = []
        sum_ = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            sum_ += count
            rows.append((str(bound), sum_))
        return rows


def histogram(
    name: str, meaning: str, spreads: Mapping[tuple[str, str], Spread]
) -> Metric:
    """Answer them as Prometheus has them, by endpoint and provider."""
    family = HistogramMetricFamily(name, meaning, labels=("endpoint", "provider"))
    for labels, spread in spreads.items():
        family.add_metric(labels, spread.buckets(), spread.total)
    return family
