"""What followed from a request, remembered for the next one of the same kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from providers.base import ASKABLE
from providers.wire.dialect import Dialect
from proxy.core.types import Attempt, Principal
from proxy.pipeline.carry import Carrier
from proxy.pipeline.imposed import is_constrained
from proxy.pipeline.order import Course, Order
from proxy.relay.pool import Pool
from proxy.routing.catalog import Catalog, Resolution
from proxy.routing.model import Candidate

_CHAT: Final = Dialect.CHAT


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Who serves such requests while `catalog` is in force, and what is sent there.

    `lines` are the upstream's head but for the body's framing, `pool` has its
    connections. The rest is for the records, which share it: what follows from the
    caller's head, and whether the body names an end user.
    """

    catalog: Catalog
    model: str
    principal: Principal
    resolution: Resolution
    candidate: Candidate
    order: Order
    pool: Pool
    lines: bytes
    provider_id: str
    upstream_model: str | None
    attempts: list[Attempt]
    user_agent: str | None
    trace_parent: str | None
    names_user: bool


class Remembers(Protocol):
    """What requests of the same head, members and model share."""

    track: Track | None
    names_user: bool


class Usual(Protocol):
    """A request as far as laying a track needs it."""

    model: str

    @property
    def is_usual(self) -> bool: ...

    @property
    def shape(self) -> Remembers: ...


class Tracks:
    """Lays a track where a request has gone its way without any trouble."""

    def __init__(self, catalog: Callable[[], Catalog], carrier: Carrier) -> None:
        self._catalog = catalog
        self._carrier = carrier

    def lay(
        self,
        course: Course,
        request: Usual,
        resolution: Resolution,
        candidate: Candidate,
    ) -> None:
        """Remember for whoever asks the same again, where that is always right."""
        shape, catalog, order = request.shape, self._catalog(), course.order
        if shape.track is not None and shape.track.catalog is catalog:
            return
        shape.track = None
        if order is None or course.dialect is not _CHAT or not request.is_usual:
            return
        if resolution.ample_bytes < 0 or resolution.candidates[:1] != (candidate,):
            return
        # What this body needed may have chosen another model, and providers may have
        # changed meanwhile: candidates are made anew with each catalogue.
        usual = catalog.resolve(request.model, ASKABLE[course.call.operation])
        if usual.candidates != resolution.candidates:
            return
        config, principal = candidate.provider.config, course.principal
        if order.translation or principal.models or len(config.keys) > 1:
            return
        if course.tells_provider or course.cors or is_constrained(candidate.model):
            return
        origin = self._carrier.origin_of(config)
        lines = (order.lines or {}).get(origin)
        if lines is not None:
            shape.track = Track(
                catalog,
                request.model,
                principal,
                resolution,
                candidate,
                order,
                self._carrier.client.pool(origin),
                lines,
                config.id,
                order.upstream_model,
                [Attempt(config.id, order.upstream_model, 200)],
                course.call.headers.get("user-agent"),
                course.call.headers.get("traceparent"),
                shape.names_user,
            )
