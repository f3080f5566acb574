"""Metrics of one gateway: counted per request, gauges read when somebody asks.

Everything a caller can put into a label is bounded: model names that are neither
configured nor found count as "other", and no key or user text is a label.
Counting is plain arithmetic (1 µs a request); prometheus-client renders.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from proxy.core.types import Record
from proxy.observability.exposition import render

OTHER: Final = "other"

_DURATION_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
    300.0, 600.0,
)  # fmt: skip
_FIRST_TOKEN_S: Final = (
    0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
_KINDS: Final = ("prompt", "completion", "cached", "reasoning")


@dataclass(frozen=True, slots=True)
class ProviderGauges:
    """What can be read of one provider.

    `active` slots are held of `slots`, None for no limit; `queued` requests wait for
    it, perhaps for others too. `circuits_open` counts circuits that are not closed, its
    models' and its own; `cooling` the models that rest after a rate limit.
    """

    id: str
    active: int = 0
    is_well: bool = False
    slots: int | None = None
    queued: int = 0
    circuits_open: int = 0
    cooling: int = 0


def _none_active() -> int:
    return 0


def _none_queued() -> tuple[int, float]:
    return (0, 0.0)


@dataclass(frozen=True, slots=True)
class Feeds:
    """Where to read what others count.

    `connections` answers (provider, state such as "idle" or "busy", count), `queue` how
    many wait for a slot, and for how many seconds the first of them has, `per_usd` what
    a US dollar is worth in the currency of costs.
    """

    active: Callable[[], int] = _none_active
    providers: Callable[[], Iterable[ProviderGauges]] = tuple
    connections: Callable[[], Iterable[tuple[str, str, int]]] = tuple
    queue: Callable[[], tuple[int, float]] = _none_queued
    per_usd: Callable[[], float] = lambda: 1.0


class Metrics:
    """Counts finished requests and answers scrapes."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry(auto_describe=False)
        self._models: Container[str] = frozenset()
        # By what records remember their series: labels may change with the names.
        self._names = object()
        self._counts = _Counts()
        self._gauges = _Gauges()
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


class Tally:
    """A count that whoever holds it adds to (bench: CPU per request)."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class _Spread:
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


class _Series:
    """The counts of one combination of labels; spreads and tokens are shared."""

    __slots__ = ("count", "duration", "first_token", "tokens")

    def __init__(
        self, duration: _Spread, first_token: _Spread, tokens: _Tokens
    ) -> None:
        self.count = 0
        self.duration = duration
        self.first_token = first_token
        self.tokens = tokens

    def observe_plain(self, record: Record) -> None:
        """As `observe`, of one that is no stream, and where all is known that varies
        among records of one kind (bench: CPU per request).
        """
        self.count += 1
        took_s = record.ended_at - record.started_at  # type: ignore[operator]
        spread, tokens, cost_usd = self.duration, self.tokens, record.cost_usd
        spread.counts[bisect_left(spread.bounds, took_s)] += 1
        spread.total += took_s
        tokens.prompt += record.prompt_tokens  # type: ignore[operator]
        tokens.completion += record.completion_tokens  # type: ignore[operator]
        if cost_usd:
            tokens.cost_usd += cost_usd

    def observe(self, record: Record) -> None:
        self.count += 1
        started_at = record.started_at
        if record.ended_at is not None:
            took_s, spread = record.ended_at - started_at, self.duration
            spread.counts[bisect_left(spread.bounds, took_s)] += 1
            spread.total += took_s
        if record.stream and record.first_byte_at is not None:
            self.first_token.observe(record.first_byte_at - started_at)
        if record.usage_source != "none":
            tokens = self.tokens
            tokens.prompt += record.prompt_tokens or 0
            tokens.completion += record.completion_tokens or 0
            if record.cached_tokens:
                tokens.cached += record.cached_tokens
            if record.reasoning_tokens:
                tokens.reasoning += record.reasoning_tokens
            cost_usd = record.cost_usd
            if cost_usd is None:
                tokens.unpriced += 1
            elif cost_usd:
                tokens.cost_usd += cost_usd


@dataclass(slots=True)
class _Tokens:
    """Tokens by kind, whose names are the label's values, and what they cost."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0


class _Counts(Collector):
    """Everything counted by request. docs list the same names."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str, str, int], _Series] = {}
        self._durations: dict[tuple[str, str], _Spread] = {}
        self._first_tokens: dict[tuple[str, str], _Spread] = {}
        self._tokens: dict[tuple[str, str], _Tokens] = {}
        self.doors: dict[tuple[bool, str], Tally] = {}
        self._failed: dict[tuple[str, str], int] = {}
        self._failovers: dict[tuple[str, str], int] = {}
        self._broken = 0
        self.per_usd: Callable[[], float] = lambda: 1.0

    def series(self, endpoint: str, model: str, provider: str, status: int) -> _Series:
        """Begin to count a combination of labels."""
        at = (endpoint, provider)
        series = self.known[endpoint, model, provider, status] = _Series(
            self._durations.setdefault(at, _Spread(_DURATION_S)),
            self._first_tokens.setdefault(at, _Spread(_FIRST_TOKEN_S)),
            self._tokens.setdefault((model, provider), _Tokens()),
        )
        return series

    def note_failures(self, record: Record) -> None:
        """Count what went wrong on the way, even if another attempt made it good."""
        if record.code == "upstream_stream_broken":
            self._broken += 1
        before: str | None = None
        for attempt in record.attempts:
            provider = attempt.provider
            if attempt.code is not None:
                failed = (provider, attempt.code)
                self._failed[failed] = self._failed.get(failed, 0) + 1
            if before is not None and before != provider:
                step = (before, provider)
                self._failovers[step] = self._failovers.get(step, 0) + 1
            before = provider

    def collect(self) -> Iterator[Metric]:
        yield self._requests()
        yield _histogram(
            "local_ai_request_duration_seconds",
            "From a request's arrival to the end of its reply.",
            self._durations,
        )
        yield _histogram(
            "local_ai_first_token_seconds",
            "From a request's arrival to the first byte of a streamed reply.",
            self._first_tokens,
        )
        yield self._token_counts()
        yield from self._costs()
        yield CounterMetricFamily(
            "local_ai_broken_streams_total",
            "Streams that an upstream did not finish.",
            value=self._broken,
        )
        yield self._failed_attempts()
        yield self._failover_counts()
        yield self._door_counts()

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            "local_ai_requests_total",
            "Finished requests by the status the caller got (499: it went away).",
            labels=("endpoint", "model", "provider", "status"),
        )
        for (endpoint, model, provider, status), series in self.known.items():
            family.add_metric((endpoint, model, provider, str(status)), series.count)
        return family

    def _token_counts(self) -> Metric:
        family = CounterMetricFamily(
            "local_ai_tokens_total",
            "Tokens that upstreams reported; cached and reasoning ones are part of "
            "prompt and completion.",
            labels=("kind", "model", "provider"),
        )
        for (model, provider), tokens in self._tokens.items():
            for kind in _KINDS:
                family.add_metric((kind, model, provider), getattr(tokens, kind))
        return family

    def _costs(self) -> Iterator[Metric]:
        labels, rate = ("model", "provider"), self.per_usd()
        usd = CounterMetricFamily(
            "local_ai_cost_usd_total", "Cost of requests in US dollars.", labels=labels
        )
        own = CounterMetricFamily(
            "local_ai_cost_total", "The same in metrics.currency.", labels=labels
        )
        unpriced = CounterMetricFamily(
            "local_ai_unpriced_total",
            "Requests whose tokens are known and whose cost is not.",
            labels=labels,
        )
        for at, tokens in self._tokens.items():
            usd.add_metric(at, tokens.cost_usd)
            own.add_metric(at, tokens.cost_usd * rate)
            unpriced.add_metric(at, tokens.unpriced)
        yield from (usd, own, unpriced)

    def _failed_attempts(self) -> Metric:
        family = CounterMetricFamily(
            "local_ai_failed_attempts_total",
            "Attempts at a provider that failed, also where another made it good.",
            labels=("provider", "code"),
        )
        for labels, count in self._failed.items():
            family.add_metric(labels, count)
        return family

    def _failover_counts(self) -> Metric:
        family = CounterMetricFamily(
            "local_ai_provider_failover_total",
            "Requests that went on to another provider after one had failed.",
            labels=("from_provider", "to_provider"),
        )
        for labels, count in self._failovers.items():
            family.add_metric(labels, count)
        return family

    def _door_counts(self) -> Metric:
        family = CounterMetricFamily(
            "local_ai_fast_path_total",
            "Requests by the door that took them, and why.",
            labels=("taken", "reason"),
        )
        for (taken, reason), tally in self.doors.items():
            if tally.count:
                family.add_metric(("true" if taken else "false", reason), tally.count)
        return family


def _histogram(
    name: str, meaning: str, spreads: dict[tuple[str, str], _Spread]
) -> Metric:
    family = HistogramMetricFamily(name, meaning, labels=("endpoint", "provider"))
    for labels, spread in spreads.items():
        family.add_metric(labels, spread.buckets(), spread.total)
    return family


_OF_PROVIDERS: Final[
    tuple[tuple[str, str, Callable[[ProviderGauges], int | None]], ...]
] = (
    (
        "local_ai_provider_active_requests",
        "Requests that a provider is serving now: the slots that are held.",
        lambda row: row.active,
    ),
    (
        "local_ai_provider_slots",
        "Requests that a provider serves at once; absent where there is no limit.",
        lambda row: row.slots,
    ),
    (
        "local_ai_provider_queue_length",
        "Requests that wait for a slot of a provider, perhaps of others too.",
        lambda row: row.queued,
    ),
    (
        "local_ai_provider_health",
        "1 while a provider is online or degraded, else 0.",
        lambda row: int(row.is_well),
    ),
    (
        "local_ai_provider_circuits_open",
        "Circuits of a provider and its models that are open or half-open.",
        lambda row: row.circuits_open,
    ),
    (
        "local_ai_provider_cooldowns",
        "Models of a provider that rest after a rate limit.",
        lambda row: row.cooling,
    ),
)


class _Gauges(Collector):
    """Reads what others count, at the moment somebody asks."""

    def __init__(self) -> None:
        self.feeds = Feeds()

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "local_ai_workers", "Processes whose numbers these are.", value=1
        )
        yield GaugeMetricFamily(
            "local_ai_active_requests",
            "Requests being served now.",
            value=self.feeds.active(),
        )
        length, oldest_s = self.feeds.queue()
        yield GaugeMetricFamily(
            "local_ai_queue_length", "Requests that wait for a slot.", value=length
        )
        yield GaugeMetricFamily(
            "local_ai_queue_oldest_seconds",
            "For how long the first of them has waited.",
            value=oldest_s,
        )
        yield from self._providers()
        yield self._connections()

    def _providers(self) -> Iterator[Metric]:
        rows = tuple(self.feeds.providers())
        for name, meaning, read in _OF_PROVIDERS:
            family = GaugeMetricFamily(name, meaning, labels=("provider",))
            for row in rows:
                value = read(row)
                if value is not None:
                    family.add_metric((row.id,), value)
            yield family

    def _connections(self) -> Metric:
        family = GaugeMetricFamily(
            "local_ai_upstream_connections",
            "Open connections to a provider.",
            labels=("provider", "state"),
        )
        for provider, state, count in self.feeds.connections():
            family.add_metric((provider, state), count)
        return family
