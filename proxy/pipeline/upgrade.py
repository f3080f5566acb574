"""A WebSocket call becomes a tunnel to its provider (http-api §5)."""

from __future__ import annotations

from msgspec import Struct

from proxy.core import clock
from proxy.core.call import Call
from proxy.core.types import Attempt, Pair
from proxy.pipeline import failures, heads
from proxy.pipeline.carry import Carrier
from proxy.pipeline.order import Course, Order
from proxy.relay.client import Outgoing
from proxy.relay.errors import UpstreamFailed
from proxy.relay.head import ReplyHead
from proxy.relay.headers import for_caller
from proxy.relay.websocket import WebSocketTransfer
from proxy.routing.outcome import ANSWERED, LEFT, Outcome, of_passage
from proxy.routing.traffic import Traffic


def is_upgrade(call: Call) -> bool:
    """Tell whether the caller wants a WebSocket (RFC 6455 §4.1)."""
    upgrade = call.headers.get("upgrade")
    if upgrade is None or call.method != "GET":
        return False
    return upgrade.strip().lower() == "websocket" and (
        "upgrade" in (call.headers.get("connection") or "").lower()
    )


class Tunnels(Struct, frozen=True):
    """Opens tunnels; makes one record at their close.

    A tunnel holds no slot: SDKs keep theirs open while nothing is asked, which would
    keep a provider of one slot from everybody. It holds its caller's place among
    those at the same time, as a stream does.
    """

    carrier: Carrier
    traffic: Traffic

    async def run(self, course: Course, order: Order) -> None:
        """Pass the connection both ways until it closes. Raises GatewayError."""
        record, provider = course.record, order.provider
        attempt = Attempt(provider.id, None)
        record.provider = provider.id
        record.attempts.append(attempt)
        transfer = WebSocketTransfer(
            course.reply, lambda head: _fields(head, course, order)
        )
        course.farewell = transfer.say_goodbye
        limits, outcome = provider.config.timeouts, LEFT
        try:
            await transfer.run(
                self.carrier.client,
                self.carrier.origin_of(provider.config),
                _asking(course.call, order),
                self.carrier.ticker,
                connect_s=limits.connect,
                first_byte_s=limits.first_byte,
            )
            # A tunnel that was open tells nothing at its end, hours later.
            opened = transfer.head is not None and transfer.head.status == 101
            outcome = LEFT if opened else ANSWERED
        except UpstreamFailed as error:
            fault = failures.from_relay(error, provider, streaming=False)
            outcome = Outcome(failures.ending_of(error), fault)
            raise fault from error
        finally:
            course.farewell = None
            attempt.status = transfer.head.status if transfer.head else None
            self.traffic.passed_on(provider, of_passage(outcome, attempt.status))
            record.bytes_in += transfer.bytes_in
            record.first_byte_at = record.first_byte_at or clock.monotonic()


def _asking(call: Call, order: Order) -> Outgoing:
    """The upgrade's own fields are hop-by-hop: they are put back for this hop."""
    asked = [
        pair for pair in call.headers.pairs if pair[0].startswith("sec-websocket-")
    ]
    kept = [pair for pair in order.fields if not pair[0].startswith("sec-websocket-")]
    return Outgoing(
        "GET",
        order.url_path,
        [*kept, *asked, ("connection", "Upgrade"), ("upgrade", "websocket")],
    )


def _fields(head: ReplyHead, course: Course, order: Order) -> list[Pair]:
    fields = [*for_caller(head.pairs, as_is=True), *heads.of_request(course)]
    fields.append(("x-proxy-provider", order.provider.id))
    if head.status == 101:
        fields += [("connection", "Upgrade"), ("upgrade", "websocket")]
    return fields
