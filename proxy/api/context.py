"""What handlers may ask: the parts of the running gateway that can be shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.config import Config
from proxy.observability.metrics import Metrics
from proxy.routing.catalog import Catalog
from proxy.routing.registry import Registry


@dataclass(frozen=True, slots=True)
class Context:
    """The gateway as handlers see it.

    `catalog` answers the snapshot of now, `active` the requests being served.
    `started_at` is seconds since the epoch.
    """

    config: Config
    registry: Registry
    catalog: Callable[[], Catalog]
    metrics: Metrics
    version: str
    active: Callable[[], int]
    draining: Callable[[], bool]
    started_at: float
