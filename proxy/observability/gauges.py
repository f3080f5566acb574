"""What can be read of the gateway at any moment: requests, queue, providers, connections.

Others count it; here it is read when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from msgspec import Struct
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class ProviderGauges(Struct, frozen=True):
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


class Feeds(Struct, frozen=True):
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


class Gauges(Collector):
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
