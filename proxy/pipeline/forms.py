"""A model request that is a form: read up to the model's name, the rest passes on."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec import Struct

from providers.base import Operation, Request
from providers.wire.multipart import FieldFinder, MalformedForm, boundary_of
from proxy.core.call import Call
from proxy.core.errors import CallerFault
from proxy.core.types import ANYONE
from proxy.pipeline import heads
from proxy.pipeline.checks import check_size, missing_model, named
from proxy.pipeline.order import Order, Treatment, limits_of
from proxy.pipeline.translator import Translator
from proxy.relay.client import Outgoing
from proxy.routing.affinity import Marks, marks
from proxy.routing.catalog import Resolution
from proxy.routing.model import Candidate
from proxy.routing.needs import Needs


class FormRequest(Struct):
    """A multipart request: its head up to the model is here, the rest still comes."""

    call: Call
    operation: Operation
    finder: FieldFinder
    rest: AsyncIterator[bytes]
    model: str
    limit_bytes: int
    stream: bool = False
    tenant: str = ANYONE.tenant
    previous_response_id: str | None = None
    size_bytes: int = 0
    known_marks: Marks | None = None
    pinned: Resolution | None = None

    def needs(self) -> Needs:
        return Needs(self.operation.name)

    def value(self, name: str) -> object:
        """Nothing but the model is read of a form."""
        return None

    def marks(self) -> Marks:
        if self.known_marks is None:
            self.known_marks = marks(self.tenant, self.model, self.call.headers, None)
        return self.known_marks

    def order_for(
        self, candidate: Candidate, via: str, translator: Translator, key: int = 0
    ) -> Order:
        provider = candidate.provider
        prepared = provider.adapter_with(key).prepare(
            Request(
                operation=self.operation,
                model=candidate.upstream_model,
                asked_model=self.model,
                stream=False,
                fields=frozenset(),
                headers=self.call.headers.pairs,
                query=self.call.query,
            )
        )
        return Order(
            provider,
            self.operation.method,
            prepared.url_path,
            tuple(heads.towards_upstream(prepared.headers, self.call, via)),
            self.operation.dialect,
            Treatment.MODEL,
            limits_of(provider.config.timeouts, is_bounded=True),
            upstream_model=candidate.upstream_model,
            model=candidate.model,
        )

    def outgoing(self, order: Order) -> Outgoing:
        start, end = self.finder.span
        name = (order.upstream_model or self.model).encode()
        head = bytes(self.finder.head[:start]) + name + bytes(self.finder.head[end:])
        length = self.call.body.length
        if length is not None:
            length += len(name) - (end - start)
        return order.outgoing(self._body(head), length)

    def let_go(self) -> None:
        """Nothing is kept of a body that passes piece by piece."""

    async def _body(self, head: bytes) -> AsyncIterator[bytes]:
        yield head
        size = len(self.finder.head)
        async for piece in self.rest:
            size += len(piece)
            check_size(size, self.limit_bytes)
            yield piece


async def read_form(call: Call, operation: Operation, limit_bytes: int) -> FormRequest:
    """Read a form up to its model. Raises CallerFault as `model.read` does."""
    boundary = boundary_of(call.headers.get("content-type") or "")
    if boundary is None or "content-encoding" in call.headers:
        raise CallerFault(
            "unsupported_media_type",
            "This route takes multipart/form-data with a boundary, not compressed.",
            param="content-type",
        )
    if call.body.length is not None:
        check_size(call.body.length, limit_bytes)
    finder = FieldFinder(boundary, "model")
    rest = call.body.chunks()
    try:
        async for piece in rest:
            finder.feed(piece)
            check_size(len(finder.head), limit_bytes)
            if finder.found or finder.ended:
                break
    except MalformedForm as error:
        raise CallerFault("invalid_field", f"{error}.", param="body") from error
    if not finder.found:
        raise missing_model()
    model = named(finder.value.decode("utf-8", "replace"))
    return FormRequest(call, operation, finder, rest, model, limit_bytes)
