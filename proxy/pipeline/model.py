"""A model request, read: which model, streamed or not, and the order it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson
from msgspec import Struct, field

from providers.base import STREAM_UNLESS_TOLD, Adapter, BodyKind, Operation, Request
from providers.wire.dialect import Dialect
from providers.wire.members import (
    MalformedJSON,
    Members,
    WrongType,
    read_members,
    with_member,
)
from providers.wire.translate.signatures import has_sealed
from proxy.config import ModelConfig
from proxy.core.call import Call
from proxy.core.errors import CallerFault
from proxy.core.types import ANYONE
from proxy.pipeline import heads
from proxy.pipeline.checks import named, wrong_type
from proxy.pipeline.forms import read_form
from proxy.pipeline.imposed import (
    constrain,
    is_constrained,
    put_in_options,
    reads_options,
    salted,
)
from proxy.pipeline.order import Order, Treatment, limits_of
from proxy.pipeline.stored import Stored, input_items
from proxy.pipeline.talk import Turn
from proxy.pipeline.tracks import Track
from proxy.pipeline.translation import Errand
from proxy.pipeline.translator import Asked, Translator
from proxy.relay.client import Outgoing
from proxy.relay.inflate import inflate
from proxy.routing.affinity import Marks, marks
from proxy.routing.catalog import Resolution
from proxy.routing.model import Candidate
from proxy.routing.needs import Needs

_REMEMBERED_SHAPES: Final = 16
_REMEMBERED_ORDERS: Final = 16
# Names are the caller's choice: unusually many or long ones are not kept.
_LONGEST_SHAPE: Final = 1024
_SIGNED: Final = frozenset({Dialect.MESSAGES, Dialect.RESPONSES})
_USAGE_STREAMS: Final = frozenset({"chat", "completions"})


LET_GO: Final = read_members(b"{}")
"""What is kept of a body that is sent to nobody any more."""


class ModelRequest(Protocol):
    """What routing needs of a request (routing.choose.Asked), and how it becomes an
    order with a body. `known_marks` are its marks if they have been asked for; `key` is
    the place of the provider's key to be used. `pinned` is who serves it, where that
    is settled already, `tenant` who asks.
    """

    model: str
    stream: bool
    tenant: str
    previous_response_id: str | None
    pinned: Resolution | None

    @property
    def size_bytes(self) -> int: ...

    @property
    def known_marks(self) -> Marks | None: ...

    def needs(self) -> Needs: ...

    def value(self, name: str) -> object: ...

    def marks(self) -> Marks: ...

    def order_for(
        self, candidate: Candidate, via: str, translator: Translator, key: int = 0
    ) -> Order: ...

    def outgoing(self, order: Order) -> Outgoing: ...

    def let_go(self) -> None:
        """Forget the body: it is sent to nobody any more."""
        ...


async def read(call: Call, operation: Operation, limit_bytes: int) -> ModelRequest:
    """Read the caller's body as far as choosing a provider needs it.

    Raises CallerFault: invalid_json, missing_field, invalid_field, body_too_large,
    unsupported_media_type, request_timeout.
    """
    if operation.body is BodyKind.FORM:
        return await read_form(call, operation, limit_bytes)
    _check_media_type(call)
    body = await call.body.read(limit_bytes)
    return read_json(call, operation, body, limit_bytes)


def read_json(
    call: Call, operation: Operation, body: bytes, limit_bytes: int
) -> JsonRequest:
    """As `read`, of a body that is here."""
    return JsonRequest(call, operation, members_of(call, body, limit_bytes))


async def read_object(call: Call, limit_bytes: int) -> Members:
    """Read a body that is one JSON object. Raises CallerFault as `read` does."""
    _check_media_type(call)
    return members_of(call, await call.body.read(limit_bytes), limit_bytes)


def members_of(call: Call, body: bytes, limit_bytes: int) -> Members:
    """Take apart a body that is here and should be one JSON object."""
    headers = call.headers
    if "json" not in headers.memo:
        _check_media_type(call)
        headers.memo["json"] = True
    coding = headers.get("content-encoding")
    if coding is not None:
        body = inflate(body, coding, limit_bytes)
    try:
        return read_members(body)
    except MalformedJSON as error:
        raise CallerFault("invalid_json", f"{error}.") from error


class JsonRequest:
    """A request whose body is a JSON object, all of it here.

    `history` is the response of our own that it goes on from; `sealed` tells that it
    may hold thoughts of another vendor's model.
    """

    __slots__ = (
        "_asked",
        "_call",
        "_members",
        "_needs",
        "_operation",
        "_substituted",
        "history",
        "known_marks",
        "model",
        "pinned",
        "previous_response_id",
        "sealed",
        "shape",
        "stream",
        "tenant",
    )

    def __init__(
        self,
        call: Call,
        operation: Operation,
        members: Members,
        shape: Shape | None = None,
    ) -> None:
        """`shape` is what it shares with others like it, where that is at hand."""
        self._call = call
        self._operation = operation
        self._members = members
        self._needs: Needs | None = None
        self._asked: Asked | None = None
        self._substituted = False
        # Thoughts of another vendor's model, which a provider would refuse.
        self.sealed = operation.dialect in _SIGNED and has_sealed(members.body)
        self.history: Stored | None = None
        self.pinned: Resolution | None = None
        self.known_marks: Marks | None = None
        self.tenant = ANYONE.tenant
        self.shape = shape = shape or shape_of(call, operation, members)
        self.model = shape.model
        self.stream = shape.stream
        self.previous_response_id = (
            _previous(members) if operation.dialect is Dialect.RESPONSES else None
        )

    @property
    def members(self) -> Members:
        """The body as it came, inflated."""
        return self._members

    @property
    def size_bytes(self) -> int:
        return len(self._members.body)

    @property
    def is_usual(self) -> bool:
        """Tell whether head, shape and catalogue alone decide what is sent."""
        return not (
            self.history
            or self.pinned
            or self.sealed
            or self._substituted
            or self.previous_response_id
        )

    def value(self, name: str) -> object:
        """A member's value; None where it is absent. Raises CallerFault."""
        try:
            return self._members.value(name)
        except WrongType as error:
            raise wrong_type(error) from error

    def instead(self, model: str) -> JsonRequest:
        """The same request of another model, which the caller is told of."""
        body = self._members.splice({"model": orjson.dumps(model)})
        made = JsonRequest(self._call, self._operation, read_members(body))
        made._substituted = True
        return made

    def asked(self, translator: Translator) -> Asked:
        """Read all of it, as its dialect says it. Raises CallerFault."""
        return self._read(translator, None)[0]

    def needs(self) -> Needs:
        if self._needs is None:
            self._needs = Needs(self._operation.name, self._members, stream=self.stream)
        return self._needs

    def marks(self) -> Marks:
        if self.known_marks is None:
            headers = self._call.headers
            self.known_marks = marks(self.tenant, self.model, headers, self._members)
        return self.known_marks

    def order_for(
        self, candidate: Candidate, via: str, translator: Translator, key: int = 0
    ) -> Order:
        """What to ask of a candidate; remembered with the head, which comes again."""
        orders = self.shape.orders
        known = orders.get(id(candidate))
        is_usual = not (
            key
            or self.history
            or self._substituted
            or self.sealed
            or candidate.lacks(self._operation.name)
        )
        if is_usual and known is not None and known[0] is candidate:
            return known[1]
        adapter = candidate.provider.adapter_with(key)
        model = candidate.model
        changes, applied = self._configured(model)
        if self._substituted:
            applied.append(f"model={self.model}")
        names = self._members.names.union(changes)
        way = adapter.way(self._operation, names) or self._operation
        if self.previous_response_id is None:  # its maker alone can go on from that
            way = candidate.instead_of(way, self._operation)
        if way is not self._operation or self.history is not None or self.sealed:
            return self._translated(candidate, adapter, way, translator, via)
        order = self._order_for(candidate, via, adapter, changes, applied)
        if is_constrained(model) or reads_options(model, self._operation):
            return order
        if not is_usual:
            return order
        if len(orders) >= _REMEMBERED_ORDERS:
            orders.clear()
        orders[id(candidate)] = candidate, order
        return order

    def outgoing(self, order: Order) -> Outgoing:
        if order.translation is not None:
            return order.outgoing(order.translation.body)
        members = self._members
        if order.set_fields or order.drop_fields:
            return order.outgoing(members.splice(order.set_fields, order.drop_fields))
        return order.outgoing(members.body)

    def let_go(self) -> None:
        self._members, self._needs = LET_GO, None
        self._asked = self.history = None

    def _order_for(
        self,
        candidate: Candidate,
        via: str,
        adapter: Adapter,
        changes: dict[str, bytes],
        applied: list[str],
    ) -> Order:
        provider, call, operation = candidate.provider, self._call, self._operation
        names = self._members.names
        added_usage = self._wants_usage(adapter.capabilities.usage_option)
        if added_usage:
            changes["stream_options"] = self._usage_options()
        prepared = adapter.prepare(
            Request(
                operation=operation,
                model=candidate.upstream_model,
                asked_model=self.model,
                stream=self.stream,
                fields=names.union(changes),
                headers=_json_headers(call),
                query=call.query,
            )
        )
        strip = candidate.model.params.strip if candidate.model else ()
        stripped = [name for name in strip if name in names]
        applied += [f"dropped={name}" for name in (*stripped, *prepared.dropped)]
        salt = salted(provider, operation, self.tenant)
        applied += [f"set={name}" for name in salt]
        return Order(
            provider,
            operation.method,
            prepared.url_path,
            tuple(heads.towards_upstream(prepared.headers, call, via)),
            operation.dialect,
            Treatment.MODEL,
            limits_of(provider.config.timeouts, is_bounded=not self.stream),
            upstream_model=candidate.upstream_model,
            stream=self.stream,
            added_usage=added_usage,
            applied=tuple(applied),
            model=candidate.model,
            set_fields={**changes, **prepared.set_fields, **_json(salt)},
            drop_fields=frozenset((*prepared.drop_fields, *strip)),
            lines={},
        )

    def _translated(
        self,
        candidate: Candidate,
        adapter: Adapter,
        way: Operation,
        translator: Translator,
        via: str,
    ) -> Order:
        """What to ask of a candidate that speaks another dialect."""
        call, provider = self._call, candidate.provider
        asked, applied = self._read(translator, candidate.model)
        if self._substituted:
            applied.append(f"model={self.model}")
        salt = salted(provider, way, self.tenant)
        applied += [f"set={name}" for name in salt]
        errand = Errand(
            self._operation,
            way,
            adapter,
            candidate.upstream_model,
            call.headers.pairs,
            candidate.model.params.set_ if candidate.model else {},
            salt,
        )
        said = translator.write(errand, asked, self._turn())
        return Order(
            provider,
            way.method,
            said.prepared.url_path,
            tuple(heads.towards_upstream(said.prepared.headers, call, via)),
            way.dialect,
            Treatment.MODEL,
            limits_of(provider.config.timeouts, is_bounded=not self.stream),
            upstream_model=candidate.upstream_model,
            stream=self.stream,
            applied=(*applied, *said.applied),
            model=candidate.model,
            translation=said,
        )

    def _read(
        self, translator: Translator, model: ModelConfig | None
    ) -> tuple[Asked, list[str]]:
        """Read what is asked, once; anew where the operator changes it for a model."""
        changes, applied = self._configured(model)
        strip = model.params.strip if model else ()
        stripped = [name for name in strip if name in self._members]
        if changes or stripped:
            applied += [f"dropped={name}" for name in stripped]
            body = self._members.splice(changes, strip)
            return translator.read(self._operation, self._continued(body)), applied
        if self._asked is None:
            self._asked = translator.read(
                self._operation, self._continued(self._members.body)
            )
        return self._asked, applied

    def _continued(self, body: bytes) -> bytes | dict[str, Any]:
        """The body, with the conversation that it goes on with put before it."""
        if self.history is None:
            return body
        found: dict[str, Any] = orjson.loads(body)
        found.pop("previous_response_id", None)
        found["input"] = [
            *self.history.conversation(),
            *input_items(found.get("input"), "now"),
        ]
        return found

    def _turn(self) -> Turn | None:
        if self._operation.dialect is not Dialect.RESPONSES:
            return None
        before = self.history
        given = self.value("input")
        if before is None:
            return Turn(given)
        return Turn(given, before.turns, before.id)

    def _configured(
        self, model: ModelConfig | None
    ) -> tuple[dict[str, bytes], list[str]]:
        """What the operator sets for this model: always, and where it is absent."""
        if model is None:
            return {}, []
        absent = {
            name: value
            for name, value in model.params.defaults.items()
            if name not in self._members
        }
        wanted: Mapping[str, object] = {**absent, **model.params.set_}
        changes = {name: orjson.dumps(value) for name, value in wanted.items()}
        applied = [f"set={name}" for name in changes]
        if is_constrained(model):
            applied += constrain(model, self._operation, self._members, changes)
        if reads_options(model, self._operation):
            put_in_options(model, self._members, changes, applied)
        return changes, applied

    def _wants_usage(self, known_there: bool) -> bool:
        if not (self.stream and known_there and self._operation.name in _USAGE_STREAMS):
            return False
        try:
            options = self._members.value("stream_options")
        except WrongType as error:
            raise wrong_type(error) from error
        if options is None:
            return True
        if not isinstance(options, dict):
            raise wrong_type(WrongType("stream_options", "an object"))
        return options.get("include_usage") is not True

    def _usage_options(self) -> bytes:
        given = self._members.raw("stream_options")
        if given is None or given == b"null":
            return b'{"include_usage":true}'
        try:
            return with_member(given, "include_usage", b"true")
        except MalformedJSON as error:
            raise CallerFault(
                "invalid_field", f"In stream_options {error}.", param="stream_options"
            ) from error


class Shape(Struct):
    """What a request's head, the names of its members and a few of their values
    decide; requests that share these share it. `track` is what follows for those of
    its head that ask nothing unusual.
    """

    model: str
    stream: bool
    names_user: bool
    orders: dict[int, tuple[Candidate, Order]] = field(default_factory=dict)
    track: Track | None = None


def shape_key(operation: str, members: Members) -> tuple[str | bytes | None, ...]:
    """What decides a shape, beside the head: the names of all members, and the text of
    those whose values decide what is sent besides the body.
    """
    # A head has one target: its path and query need not be told apart. Written out for
    # speed (bench: CPU per request).
    raws = members.raws
    return (
        operation,
        bytes(raws["model"]) if "model" in raws else None,
        bytes(raws["stream"]) if "stream" in raws else None,
        bytes(raws["stream_options"]) if "stream_options" in raws else None,
        *raws,
    )


def shape_of(call: Call, operation: Operation, members: Members) -> Shape:
    memo = call.headers.memo
    key = shape_key(operation.name, members)
    known: Shape | None = memo.get(key)
    if known is not None:
        return known
    try:
        model = named(members.text("model"))
        stream = members.flag("stream")
        if stream is None:
            stream = operation.name in STREAM_UNLESS_TOLD
        shape = Shape(model, stream, "user" in members or "metadata" in members)
    except WrongType as error:
        raise wrong_type(error) from error
    if sum(0 if part is None else len(part) for part in key) <= _LONGEST_SHAPE:
        if len(memo) >= _REMEMBERED_SHAPES:
            memo.clear()
        memo[key] = shape
    return shape


def _json(members: Mapping[str, str]) -> dict[str, bytes]:
    return {name: orjson.dumps(value) for name, value in members.items()}


def _previous(members: Members) -> str | None:
    try:
        return members.text("previous_response_id")
    except WrongType as error:
        raise wrong_type(error) from error


def _json_headers(call: Call) -> list[tuple[str, str]]:
    """The caller's fields; a body that is JSON is called so, whatever curl -d said."""
    kept = [p for p in call.headers.pairs if p[0] != "content-encoding"]
    kind = call.headers.get("content-type")
    if kind is not None and "json" in kind:
        return kept
    kept = [p for p in kept if p[0] != "content-type"]
    return [*kept, ("content-type", "application/json")]


def _check_media_type(call: Call) -> None:
    """Refuse a form before it is read; any other type may be JSON (curl -d)."""
    kind = call.headers.get("content-type")
    if kind is not None and kind.lower().startswith("multipart/"):
        raise CallerFault(
            "unsupported_media_type",
            "This route takes application/json.",
            param="content-type",
        )
