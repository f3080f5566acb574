"""Metrics in Prometheus' words. Each instance has its own registry: none is global.

Labels are bounded: a model that is neither configured nor found counts as
`other`, so that nobody fills the memory by asking for made-up names. What is
counted elsewhere (active requests, connections) is read when somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import (
    CONTENT_TYPE_PLAIN_0_0_4,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from proxy.core.types import Record

OTHER: Final = "other"

_DURATION_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
    300.0, 600.0,
)  # fmt: skip
_FIRST_TOKEN_S: Final = (
    0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip

_OPENMETRICS_TYPE: Final = "application/openmetrics-text"


def _none_active() -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Feeds:
    """Where to read what others count.

    `providers` answers (id, active requests, is well), `connections` (provider,
    state such as "idle" or "busy", count).
    """

    active: Callable[[], int] = _none_active
    providers: Callable[[], Iterable[tuple[str, int, bool]]] = tuple
    connections: Callable[[], Iterable[tuple[str, str, int]]] = tuple


class Metrics:
    """Counts finished requests and answers scrapes."""

    def __init__(self) -> None:
        # Times of creation would show as gauges that are never at rest.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry(auto_describe=False)
        self._models: Container[str] = frozenset()
        self._series: dict[tuple[str, str, str, int], _Series] = {}
        self._doors: dict[tuple[bool, str], Callable[[], None]] = {}
        self._families = _Families(registry)
        self._gauges = _Gauges()
        registry.register(self._gauges)

    def feed(self, feeds: Feeds) -> None:
        """Say where the gauges are read."""
        self._gauges.feeds = feeds

    def know_models(self, names: Container[str]) -> None:
        """Say which model names may be labels."""
        self._models = names

    def observe(self, record: Record) -> None:
        """Count a finished request."""
        model = record.model or ""
        if model and model not in self._models:
            model = OTHER
        key = (record.operation, model, record.provider or "", record.status)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(self._families, *key)
        series.observe(record)
        if record.code == "upstream_stream_broken":
            self._families.broken.inc()

    def fast_path(self, taken: bool, reason: str) -> None:
        """Count which door took a request. `reason` is one of a fixed few."""
        count = self._doors.get((taken, reason))
        if count is None:
            labels = ("true" if taken else "false", reason)
            count = self._families.fast_path.labels(*labels).inc
            self._doors[taken, reason] = count
        count()

    def exposition(self, accept: str | None = None) -> tuple[bytes, str]:
        """Answer all metrics and their content type: OpenMetrics when asked for."""
        if accept is not None and _OPENMETRICS_TYPE in accept:
            write = openmetrics.generate_latest
            body: bytes = write(self._registry)  # type: ignore[no-untyped-call]
            return body, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4


class _Families:
    """Every metric by name. docs list the same."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "local_ai_requests_total",
            "Finished requests by the status the caller got (499: it went away).",
            ("endpoint", "model", "provider", "status"),
            registry=registry,
        )
        self.duration = Histogram(
            "local_ai_request_duration_seconds",
            "From a request's arrival to the end of its reply.",
            ("endpoint", "provider"),
            buckets=_DURATION_S,
            registry=registry,
        )
        self.first_token = Histogram(
            "local_ai_first_token_seconds",
            "From a request's arrival to the first byte of a streamed reply.",
            ("endpoint", "provider"),
            buckets=_FIRST_TOKEN_S,
            registry=registry,
        )
        self.tokens = Counter(
            "local_ai_tokens_total",
            "Tokens that upstreams reported; cached and reasoning ones are part of "
            "prompt and completion.",
            ("kind", "model", "provider"),
            registry=registry,
        )
        self.broken = Counter(
            "local_ai_broken_streams_total",
            "Streams that an upstream did not finish.",
            registry=registry,
        )
        self.fast_path = Counter(
            "local_ai_fast_path_total",
            "Requests by the door that took them, and why.",
            ("taken", "reason"),
            registry=registry,
        )


class _Series:
    """The metrics of one combination of labels, looked up once."""

    __slots__ = ("_count", "_duration", "_first_token", "_tokens")

    def __init__(
        self, of: _Families, endpoint: str, model: str, provider: str, status: int
    ) -> None:
        labels = (endpoint, model, provider, str(status))
        self._count = of.requests.labels(*labels).inc
        self._duration = of.duration.labels(endpoint, provider).observe
        self._first_token = of.first_token.labels(endpoint, provider).observe
        self._tokens = {
            kind: of.tokens.labels(kind, model, provider).inc
            for kind in ("prompt", "completion", "cached", "reasoning")
        }

    def observe(self, record: Record) -> None:
        self._count()
        started_at = record.started_at
        if record.ended_at is not None:
            self._duration(record.ended_at - started_at)
        if record.stream and record.first_byte_at is not None:
            self._first_token(record.first_byte_at - started_at)
        if record.prompt_tokens:
            self._tokens["prompt"](record.prompt_tokens)
        if record.completion_tokens:
            self._tokens["completion"](record.completion_tokens)
        if record.cached_tokens:
            self._tokens["cached"](record.cached_tokens)
        if record.reasoning_tokens:
            self._tokens["reasoning"](record.reasoning_tokens)


class _Gauges(Collector):
    """Reads what others count, at the moment somebody asks."""

    def __init__(self) -> None:
        self.feeds = Feeds()

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "local_ai_active_requests",
            "Requests being served now.",
            value=self.feeds.active(),
        )
        active = GaugeMetricFamily(
            "local_ai_provider_active_requests",
            "Requests that a provider is serving now.",
            labels=("provider",),
        )
        health = GaugeMetricFamily(
            "local_ai_provider_health",
            "1 while a provider is online or degraded, else 0.",
            labels=("provider",),
        )
        for id_, count, is_well in self.feeds.providers():
            active.add_metric((id_,), count)
            health.add_metric((id_,), int(is_well))
        yield active
        yield health
        yield self._connections()

    def _connections(self) -> Metric:
        family = GaugeMetricFamily(
            "local_ai_upstream_connections",
            "Open connections to a provider.",
            labels=("provider", "state"),
        )
        for provider, state, count in self.feeds.connections():
            family.add_metric((provider, state), count)
        return family
