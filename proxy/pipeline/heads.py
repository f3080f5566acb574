"""The header fields that the gateway itself adds, towards either side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit, urlunsplit

from providers.wire.dialect import Dialect
from proxy.core.call import Call
from proxy.core.errors import GatewayError, ProviderFault
from proxy.core.types import Pair, Record
from proxy.pipeline.order import Course, Order
from proxy.relay.head import encode_fields
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
    for line in course.lines.splitlines():
        name, _, value = line.partition(": ")
        pairs.append((name, value))
    return pairs


def of_order(course: Course, order: Order, overhead_s: float) -> list[Pair]:
    """What every answered model call carries besides."""
    record = course.record
    pairs = [
        *of_request(course),
        *order.named,
        ("x-proxy-attempts", str(len(record.attempts))),
        ("x-proxy-overhead-ms", f"{overhead_s * 1000:.2f}"),
    ]
    if record.queue_s:
        pairs.append(("x-proxy-queue-ms", f"{record.queue_s * 1000:.2f}"))
    return pairs


def block_of_order(course: Course, order: Order, overhead_s: float) -> bytes:
    """As `of_order`, encoded (bench: CPU per request)."""
    record, dialect = course.record, course.dialect
    if course.cors or dialect is Dialect.MESSAGES or record.queue_s:
        return encode_fields(of_order(course, order, overhead_s))
    return usual_block(record, order, overhead_s, course.lines)


def usual_block(
    record: Record, order: Order, overhead_s: float, lines: str = ""
) -> bytes:
    """The same where nothing is out of the ordinary. Ids are printable ASCII."""
    return (
        f"x-request-id: {record.client_request_id or record.id}\r\n{order.named_text}"
        f"x-proxy-attempts: {len(record.attempts)}\r\n"
        f"x-proxy-overhead-ms: {overhead_s * 1000:.2f}\r\n{lines}"
    ).encode()


def of_error(course: Course, error: GatewayError, overhead_s: float) -> list[Pair]:
    """What an error's head carries besides its body."""
    order = course.order
    pairs = of_request(course) if order is None else of_order(course, order, overhead_s)
    if error.retry_after_s is not None:
        pairs.append(("retry-after", str(math.ceil(error.retry_after_s))))
    pairs += challenge(error)
    if isinstance(error, ProviderFault) and (
        error.status >= 500 or error.status == 429
    ):
        pairs.append(("x-should-retry", "false"))
    return pairs


def challenge(error: GatewayError) -> list[Pair]:
    """What a 401 of ours asks for (RFC 9110 §11.6.1, RFC 6750 §3).

    Bearer makes no browser ask its user for a password.
    """
    if error.entry.http_status != 401:
        return []
    given = error.code != "missing_authorization"
    asked = ', error="invalid_token"' if given else ""
    return [("www-authenticate", f'Bearer realm="local-ai"{asked}')]


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
