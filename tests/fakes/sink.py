"""Who a reply is for, keeping what it was told."""

from __future__ import annotations

from proxy.core.types import Pair
from proxy.relay.connection import Connection
from proxy.relay.errors import UpstreamFailed
from proxy.relay.head import ReplyHead


class KeptSink:
    """Implements relay.connection.Sink; `told` are the names of what it heard.

    On a head it raises `refusal`, or has had enough and lets go of `drops`.
    """

    def __init__(self) -> None:
        self.head: ReplyHead | None = None
        self.body = bytearray()
        self.trailers: tuple[Pair, ...] | None = None
        self.failure: UpstreamFailed | None = None
        self.told: list[str] = []
        self.refusal: Exception | None = None
        self.drops: Connection | None = None

    def on_head(self, head: ReplyHead) -> None:
        self.told.append("head")
        self.head = head
        if self.refusal is not None:
            raise self.refusal
        if self.drops is not None:
            self.drops.drop(self)

    def on_data(self, data: bytes) -> None:
        assert data
        if self.told[-1] != "data":
            self.told.append("data")
        self.body += data

    def on_whole(self, head: ReplyHead, body: bytes) -> None:
        self.on_head(head)
        if body:
            self.on_data(body)
        self.on_end(())

    def on_end(self, trailers: tuple[Pair, ...], last: bytes = b"") -> None:
        if last:
            self.on_data(last)
        self.told.append("end")
        self.trailers = trailers

    def on_failed(self, error: UpstreamFailed) -> None:
        self.told.append("failed")
        self.failure = error
