"""What followed from a request, remembered for the next one of the same kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from providers.base import ASKABLE
from providers.wire.dialect import Dialect
from providers.wire.members import Edits, edits_of
from proxy.core.types import Attempt, Principal, Record
from proxy.limits.toll import Toll
from proxy.pipeline.allowance import Allowance, Asked
from proxy.pipeline.carry import Carrier
from proxy.pipeline.imposed import is_constrained
from proxy.pipeline.order import Course, Order
from proxy.relay.pool import Pool
from proxy.routing.catalog import Catalog, Resolution
from proxy.routing.model import Candidate

_CHAT: Final = Dialect.CHAT


class Track(Struct, frozen=True, eq=False):
    """Who serves such requests while `catalog` is in force, and what is sent there:
    bodies of at most `ample_bytes`, as they came where there are no `edits`.

    `lines` are the upstream's head but for the body's framing, `pool` has its
    connections. `toll` is what each of them draws on; where it is None, and while `terms`
    are others than the allowance's, limits are to be asked. `record` is what is written
    down of each, but for its id, peer, times and counts; `names_user`: and its end user.
    `is_stream` tells that a stream is asked for.
    """

    catalog: Catalog
    model: str
    principal: Principal
    resolution: Resolution
    candidate: Candidate
    order: Order
    edits: Edits | None
    ample_bytes: int
    pool: Pool
    lines: bytes
    provider_id: str
    terms: object
    toll: Toll | None
    record: Record
    names_user: bool
    is_stream: bool

    def __repr__(self) -> str:
        return f"Track({self.model})"  # its lines hold the provider's key

    def holds(
        self, catalog: Catalog, allowance: Allowance, principal: Principal
    ) -> bool:
        """Tell whether nothing has changed on which it depends."""
        return (
            self.catalog is catalog
            and self.terms is allowance.terms
            and self.principal is principal
        )


class Remembers(Protocol):
    """What requests of the same head, members and model share."""

    track: Track | None
    names_user: bool


class Usual(Asked, Protocol):
    """A request as far as laying a track needs it."""

    @property
    def stream(self) -> bool: ...

    @property
    def is_usual(self) -> bool: ...

    @property
    def shape(self) -> Remembers: ...


class Tracks:
    """Lays a track where a request has gone its way without any trouble."""

    def __init__(
        self, catalog: Callable[[], Catalog], carrier: Carrier, allowance: Allowance
    ) -> None:
        self._catalog = catalog
        self._carrier = carrier
        self._allowance = allowance

    def lay(
        self,
        course: Course,
        request: Usual,
        resolution: Resolution,
        candidate: Candidate,
    ) -> None:
        """Remember for whoever asks the same again, where that is always right."""
        shape, catalog, order = request.shape, self._catalog(), course.order
        allowance, known = self._allowance, shape.track
        if known is not None and known.holds(catalog, allowance, course.principal):
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
        if lines is None:
            return
        call, sets, drops = course.call, order.set_fields, order.drop_fields
        shape.track = Track(
            catalog,
            request.model,
            principal,
            resolution,
            candidate,
            order,
            edits_of(sets, drops) if sets or drops else None,
            resolution.ample_bytes,
            self._carrier.client.pool(origin),
            lines,
            config.id,
            allowance.terms,
            allowance.toll(principal, call.peer, call.operation, request),
            _record(course, order, candidate, request),
            shape.names_user,
            request.stream,
        )


def _record(
    course: Course, order: Order, candidate: Candidate, request: Usual
) -> Record:
    """What the way of all others writes down of such a request that is answered well."""
    call, principal, id_ = course.call, course.principal, candidate.provider.config.id
    record = Record(
        "", call.operation, 0.0, call.client_request_id, call.method, call.path
    )
    record.attempts = [Attempt(id_, order.upstream_model, 200)]
    record.tenant, record.key = principal.tenant, principal.key
    record.model, record.upstream_model = request.model, order.upstream_model
    record.provider, record.stream, record.status = id_, request.stream, 200
    record.user_agent = call.headers.get("user-agent")
    record.trace_parent = call.headers.get("traceparent")
    record.memo = None if request.stream or request.shape.names_user else {}
    return record
