"""The header fields that the gateway itself adds, towards either side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit, urlunsplit

from providers.wire.dialect import Dialect
from proxy.core.call import Call
from proxy.core.errors import GatewayError, ProviderFault
from proxy.core.types import Pair
from proxy.pipeline.order import Course, Order
from proxy.relay.origin import read_origin


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


def of_error(course: Course, error: GatewayError, overhead_s: float) -> list[Pair]:
    """What an error's head carries besides its body."""
    order = course.order
    pairs = of_request(course) if order is None else of_order(course, order, overhead_s)
    if error.retry_after_s is not None:
        pairs.append(("retry-after", str(math.ceil(error.retry_after_s))))
    if isinstance(error, ProviderFault) and (
        error.status >= 500 or error.status == 429
    ):
        pairs.append(("x-should-retry", "false"))
    return pairs


def relocated(location: str, base_url: str, prefix: str) -> str:
    """Answer a provider's Location as its caller must ask for it.

    What is at the provider gets `prefix` in place of the base URL; other places, and
    those relative to what was asked for, stay.
    """
    if not location.startswith("/") and "://" not in location:
        return location
    try:
        place = urlsplit(urljoin(base_url, location))
        if read_origin(place.geturl()) != read_origin(base_url):
            return location
    except ValueError:
        return location
    root = urlsplit(base_url).path
    path = urlunsplit(("", "", place.path or "/", place.query, place.fragment))
    return prefix + path[len(root) :] if path.startswith(f"{root}/") else location


def _ascii(text: str) -> str:
    """Header text: anything outside printable ASCII is escaped."""
    if text.isascii() and text.isprintable():
        return text
    return text.encode("unicode_escape").decode("ascii")
