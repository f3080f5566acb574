"""Metrics as they are shown, and those of several processes made into one.

What is counted adds up, and so do most gauges. Where each process says the same thing,
or its own view of it, one of them is right: the largest, or for what is up the least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

_OPENMETRICS_TYPE: Final = "application/openmetrics-text"
_LARGEST: Final = frozenset(
    {
        "local_ai_cache_bytes",
        "local_ai_cache_replies",
        "local_ai_ledger_lag_seconds",
        "local_ai_provider_circuits_open",
        "local_ai_provider_cooldowns",
        "local_ai_provider_health",
        "local_ai_provider_slots",
        "local_ai_queue_oldest_seconds",
    }
)
_LEAST: Final = frozenset({"local_ai_ledger_database_up", "local_ai_state_up"})

Dump = Sequence[Any]
"""Families as JSON has them: name, meaning, type, and samples of name, labels, value."""


def render(registry: CollectorRegistry, accept: str | None) -> tuple[bytes, str]:
    """Answer all metrics and their content type: OpenMetrics when asked for."""
    if accept is not None and _OPENMETRICS_TYPE in accept:
        write = openmetrics.generate_latest
        body: bytes = write(registry)  # type: ignore[no-untyped-call]
        return body, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def dump(registry: CollectorRegistry) -> list[Any]:
    return [
        [
            family.name,
            family.documentation,
            family.type,
            [[one.name, one.labels, one.value] for one in family.samples],
        ]
        for family in registry.collect()
    ]


def merge(dumps: Iterable[Dump]) -> CollectorRegistry:
    """Make one of the metrics of several processes."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for families_of_one in dumps:
        for name, meaning, kind, samples in families_of_one:
            families.setdefault(name, Metric(name, meaning, kind))
            known = values.setdefault(name, {})
            join = _joining(name)
            for sample, labels, value in samples:
                at = (sample, tuple(labels.items()))
                known[at] = join(known[at], value) if at in known else value
    for name, family in families.items():
        for (sample, labels), value in values[name].items():
            family.add_sample(sample, dict(labels), value)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(families.values()))
    return registry


class _Merged(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _joining(name: str) -> Callable[[float, float], float]:
    if name in _LARGEST:
        return max
    return min if name in _LEAST else _sum


def _sum(one: float, other: float) -> float:
    return one + other
