"""The ledger as metrics tell of it: how far the database is behind, and what was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from proxy.accounting.ledger import Lag


class LedgerGauges(Collector):
    """Read at the moment somebody asks."""

    def __init__(self, lag: Callable[[], Lag]) -> None:
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        lag = self._lag()
        yield GaugeMetricFamily(
            "local_ai_ledger_waiting_rows",
            "Records that wait for the database.",
            value=lag.rows,
        )
        yield GaugeMetricFamily(
            "local_ai_ledger_waiting_bytes",
            "Their size, on this machine's disk and in memory.",
            value=lag.bytes,
        )
        yield GaugeMetricFamily(
            "local_ai_ledger_lag_seconds",
            "How long ago the oldest of their requests ended.",
            value=lag.seconds,
        )
        yield GaugeMetricFamily(
            "local_ai_ledger_database_up",
            "1 while the database takes records, else 0.",
            value=int(lag.problem is None),
        )
        yield CounterMetricFamily(
            "local_ai_ledger_lost_rows_total",
            "Records that found room nowhere.",
            value=lag.dropped,
        )
        yield CounterMetricFamily(
            "local_ai_ledger_disk_errors_total",
            "How often the disk of the spool did not do what it was asked.",
            value=lag.disk_errors,
        )
        yield CounterMetricFamily(
            "local_ai_ledger_refused_rows_total",
            "Records that no database takes, kept in refused.jsonl.",
            value=lag.set_aside,
        )
