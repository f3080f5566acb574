"""Histograms: how times are spread, counted by plain arithmetic.

To count many at once costs a fraction of one by one (bench: CPU per request): they wait
until somebody asks, or until there are many.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping

from prometheus_client.metrics_core import HistogramMetricFamily, Metric


class Spread:
    """A histogram's counts; the last is for what is beyond the last bound.

    Call `observe` with each value, and `count` now and then.
    """

    __slots__ = ("_bounds", "_counts", "_total", "_waiting", "observe")

    observe: Callable[[float], None]

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0
        self._waiting: list[float] = []
        self.observe = self._waiting.append

    def count(self) -> None:
        """Count what waits."""
        waiting, counts, total, begin = self._waiting, self._counts, self._total, 0
        if not waiting:
            return
        for value in waiting:  # in their order, and as it is: `sum` has its own ways
            total += value
        self._total = total
        waiting.sort()
        for place, bound in enumerate(self._bounds):
            end = bisect_right(waiting, bound, begin)
            counts[place] += end - begin
            begin = end
        counts[-1] += len(waiting) - begin
        waiting.clear()

    @property
    def total(self) -> float:
        self.count()
        return self._total

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus has them."""
        self.count()
        rows: list[tuple[str, float]] = []
        sum_ = 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
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
