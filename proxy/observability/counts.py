"""What is counted by request, when it has ended: plain arithmetic (bench: CPU per request)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.core.types import Record
from proxy.observability.spreads import Spread, histogram

_DURATION_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
    300.0, 600.0,
)  # fmt: skip
_FIRST_TOKEN_S: Final = (
    0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
_GAP_S: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0,
    5.0,
)  # fmt: skip
_OVERHEAD_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
)  # fmt: skip
_KINDS: Final = ("prompt", "completion", "cached", "reasoning")
# After so many requests their times are counted: some 20 µs of work. A power of two,
# less one.
_MOST_WAITING: Final = 63


class Tally:
    """A count that whoever holds it adds to (bench: CPU per request)."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Series:
    """The counts of one combination of labels; spreads and tokens are shared."""

    __slots__ = (
        "_observe_duration",
        "_observe_first_token",
        "_observe_gap",
        "_observe_overhead",
        "_spreads",
        "_tokens",
        "count",
    )

    def __init__(
        self,
        duration: Spread,
        first_token: Spread,
        gap: Spread,
        overhead: Spread,
        tokens: Tokens,
    ) -> None:
        self.count = 0
        self._observe_duration = duration.observe
        self._observe_first_token = first_token.observe
        self._observe_gap = gap.observe
        self._observe_overhead = overhead.observe
        self._spreads = (duration, first_token, gap, overhead)
        self._tokens = tokens

    def observe_plain(self, record: Record) -> None:
        """As `observe`, of one that is no stream, and where all is known that varies
        among records of one kind (bench: CPU per request).
        """
        self.count = count = self.count + 1
        if not count & _MOST_WAITING:
            self._count_spreads()
        observe_s = self._observe_duration
        observe_s(record.ended_at - record.started_at)  # type: ignore[operator]
        observe_s = self._observe_overhead
        observe_s(record.overhead_s)  # type: ignore[arg-type]
        tokens, cost_usd = self._tokens, record.cost_usd
        tokens.prompt += record.prompt_tokens  # type: ignore[operator]
        tokens.completion += record.completion_tokens  # type: ignore[operator]
        if cost_usd:
            tokens.cost_usd += cost_usd

    def observe(self, record: Record) -> None:
        self.count = count = self.count + 1
        if not count & _MOST_WAITING:
            self._count_spreads()
        started_at, ended_at = record.started_at, record.ended_at
        if ended_at is not None:
            self._observe_duration(ended_at - started_at)
        if record.overhead_s is not None:
            self._observe_overhead(record.overhead_s)
        first_at = record.first_byte_at
        if record.stream and first_at is not None:
            self._observe_first_token(first_at - started_at)
            events = record.events
            if events > 1 and record.code is None and ended_at:
                self._observe_gap((ended_at - first_at) / (events - 1))
        if record.usage_source != "none":
            tokens = self._tokens
            tokens.prompt += record.prompt_tokens or 0
            tokens.completion += record.completion_tokens or 0
            tokens.cached += record.cached_tokens or 0
            tokens.reasoning += record.reasoning_tokens or 0
            cost_usd = record.cost_usd
            if cost_usd is None:
                tokens.unpriced += 1
            elif cost_usd:
                tokens.cost_usd += cost_usd

    def _count_spreads(self) -> None:
        for spread in self._spreads:
            spread.count()


class Tokens:
    """Tokens by kind, whose names are the label's values, and what they cost."""

    __slots__ = (*_KINDS, "cost_usd", "unpriced")

    def __init__(self) -> None:
        self.prompt = 0
        self.completion = 0
        self.cached = 0
        self.reasoning = 0
        self.cost_usd = 0.0
        self.unpriced = 0


class Counts(Collector):
    """Everything counted by request. docs list the same names."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str, str, int], Series] = {}
        self._durations: dict[tuple[str, str], Spread] = {}
        self._first_tokens: dict[tuple[str, str], Spread] = {}
        self._gaps: dict[tuple[str, str], Spread] = {}
        self._overheads: dict[tuple[str, str], Spread] = {}
        self._tokens: dict[tuple[str, str], Tokens] = {}
        self.doors: dict[tuple[bool, str], Tally] = {}
        self._failed: dict[tuple[str, str], int] = {}
        self._failovers: dict[tuple[str, str], int] = {}
        self._broken = 0
        self.per_usd: Callable[[], float] = lambda: 1.0

    def series(self, endpoint: str, model: str, provider: str, status: int) -> Series:
        """Begin to count a combination of labels."""
        at = (endpoint, provider)
        series = self.known[endpoint, model, provider, status] = Series(
            self._durations.setdefault(at, Spread(_DURATION_S)),
            self._first_tokens.setdefault(at, Spread(_FIRST_TOKEN_S)),
            self._gaps.setdefault(at, Spread(_GAP_S)),
            self._overheads.setdefault(at, Spread(_OVERHEAD_S)),
            self._tokens.setdefault((model, provider), Tokens()),
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
        yield histogram(
            "local_ai_request_duration_seconds",
            "From a request's arrival to the end of its reply.",
            self._durations,
        )
        yield histogram(
            "local_ai_first_token_seconds",
            "From a request's arrival to the first byte of a streamed reply.",
            self._first_tokens,
        )
        yield histogram(
            "local_ai_inter_chunk_seconds",
            "Of a streamed reply, the mean time between two events.",
            self._gaps,
        )
        yield histogram(
            "local_ai_overhead_seconds",
            "From a request's arrival to its being sent, less waiting for a slot and for "
            "attempts that failed.",
            self._overheads,
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
