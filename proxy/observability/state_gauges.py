"""The shared state as metrics tell of it: whether it is there, what was done without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector


class StateGauges(Collector):
    """Read at the moment somebody asks. `alone` counts by kind: slots, rates, budgets;
    so does `failed`: blobs, turns.
    """

    def __init__(
        self,
        is_away: Callable[[], bool],
        alone: Callable[[], Mapping[str, int]],
        failed: Callable[[], Mapping[str, int]],
    ) -> None:
        self._is_away = is_away
        self._alone = alone
        self._failed = failed

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "local_ai_state_up",
            "1 while the state that processes share can be asked, else 0.",
            value=int(not self._is_away()),
        )
        family = CounterMetricFamily(
            "local_ai_state_alone_total",
            "What was granted without asking, up to this process's share.",
            labels=("kind",),
        )
        for kind, count in self._alone().items():
            family.add_metric((kind,), count)
        yield family
        family = CounterMetricFamily(
            "local_ai_state_failed_total",
            "What was asked of the shared state, not had, and done without.",
            labels=("kind",),
        )
        for kind, count in self._failed().items():
            family.add_metric((kind,), count)
        yield family
