"""The header fields that the gateway itself adds, towards either side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from providers.wire.dialect import Dialect
from proxy.core.call import Call
from proxy.core.errors import GatewayError, ProviderFault
from proxy.core.types import Pair
from proxy.pipeline.order import Course, Order


def towards_upstream(pairs: Sequence[Pair], call: Call, via: str) -> list[Pair]:
    """What the adapter chose, and our name; an earlier proxy's Via comes first."""
    earlier = call.headers.all("via")
    kept = [pair for pair in pairs if pair[0] not in ("via", "host")]
    return [*kept, ("via", ", ".join([*earlier, via]))]


def of_request(course: Course) -> list[Pair]:
    """What every reply carries: the request's id."""
    record = course.record
    shown = record.client_request_id or record.id
    pairs = [("x-request-id", shown), *course.cors]
    if course.dialect is Dialect.MESSAGES:
        pairs.append(("request-id", shown))
    return pairs


def of_order(course: Course, order: Order, overhead_s: float) -> list[Pair]:
    """What every answered model call carries besides."""
    pairs = of_request(course)
    pairs.append(("x-proxy-provider", order.provider.id))
    if order.upstream_model is not None:
        pairs.append(("x-proxy-model", _ascii(order.upstream_model)))
    pairs.append(("x-proxy-attempts", str(len(course.record.attempts))))
    pairs.append(("x-proxy-overhead-ms", f"{overhead_s * 1000:.2f}"))
    if order.applied:
        pairs.append(("x-proxy-applied", _ascii(", ".join(order.applied))))
    return pairs


def of_error(course: Course, error: GatewayError) -> list[Pair]:
    """What an error's head carries besides its body."""
    pairs = of_request(course)
    record = course.record
    if record.provider is not None:
        pairs.append(("x-proxy-provider", record.provider))
        pairs.append(("x-proxy-attempts", str(len(record.attempts))))
    if error.retry_after_s is not None:
        pairs.append(("retry-after", str(math.ceil(error.retry_after_s))))
    if isinstance(error, ProviderFault) and (
        error.status >= 500 or error.status == 429
    ):
        pairs.append(("x-should-retry", "false"))
    return pairs


def _ascii(text: str) -> str:
    """Header text: anything outside printable ASCII is escaped."""
    return text.encode("ascii", "backslashreplace").decode("ascii")
