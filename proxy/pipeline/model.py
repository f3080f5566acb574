"""A model request, read: which model, streamed or not, and the order it becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import orjson

from providers.base import BodyKind, Operation, Prepared, Request
from providers.wire.dialect import Dialect
from providers.wire.members import (
    MalformedJSON,
    Members,
    WrongType,
    read_members,
    with_member,
)
from providers.wire.multipart import FieldFinder, MalformedForm, boundary_of
from proxy.config import ModelConfig
from proxy.core.call import Call
from proxy.core.errors import CallerFault
from proxy.core.types import Pair
from proxy.pipeline import heads
from proxy.pipeline.order import Order, Treatment
from proxy.relay.client import Outgoing
from proxy.relay.inflate import inflate
from proxy.relay.origin import Origin
from proxy.routing.model import Candidate

_Shape = tuple[Prepared, tuple[Pair, ...], dict[Origin, bytes]]
_REMEMBERED_SHAPES: Final = 16
# Names are the caller's choice: unusually many or long ones are not kept.
_LONGEST_SHAPE: Final = 1024
_USAGE_STREAMS: Final = frozenset({"chat", "completions"})


class ModelRequest(Protocol):
    """What routing needs of a request, and how it becomes an order."""

    model: str
    stream: bool
    previous_response_id: str | None

    def order_for(self, candidate: Candidate, via: str) -> Order: ...


async def read(call: Call, operation: Operation, limit_bytes: int) -> ModelRequest:
    """Read the caller's body as far as choosing a provider needs it.

    Raises CallerFault: invalid_json, missing_field, invalid_field, body_too_large,
    unsupported_media_type, request_timeout.
    """
    if operation.body is BodyKind.FORM:
        return await _read_form(call, operation, limit_bytes)
    _check_media_type(call)
    body = await call.body.read(limit_bytes)
    return read_json(call, operation, body, limit_bytes)


def read_json(
    call: Call, operation: Operation, body: bytes, limit_bytes: int
) -> JsonRequest:
    """As `read`, of a body that is here."""
    _check_media_type(call)
    coding = call.headers.get("content-encoding")
    if coding is not None:
        body = inflate(body, coding, limit_bytes)
    try:
        members = read_members(body)
    except MalformedJSON as error:
        raise CallerFault("invalid_json", f"{error}.") from error
    return JsonRequest(call, operation, members)


class JsonRequest:
    """A request whose body is a JSON object, all of it here."""

    def __init__(self, call: Call, operation: Operation, members: Members) -> None:
        self._call = call
        self._operation = operation
        self._members = members
        try:
            model = members.text("model")
            self.stream = members.flag("stream") or False
            self.previous_response_id = (
                members.text("previous_response_id")
                if operation.dialect is Dialect.RESPONSES
                else None
            )
        except WrongType as error:
            raise _wrong_type(error) from error
        self.model = _named(model)

    def order_for(self, candidate: Candidate, via: str) -> Order:
        adapter = candidate.provider.adapter
        members, operation = self._members, self._operation
        changes, applied = self._configured(candidate.model)
        added_usage = self._wants_usage(adapter.capabilities.usage_option)
        if added_usage:
            changes["stream_options"] = self._usage_options()
        prepared, fields, lines = self._prepared(candidate, changes, via)
        strip = candidate.model.params.strip if candidate.model else ()
        body = members.body
        if changes or strip or prepared.set_fields or prepared.drop_fields:
            body = members.splice(
                {**changes, **prepared.set_fields}, {*prepared.drop_fields, *strip}
            )
        if strip or prepared.dropped:
            stripped = [name for name in strip if name in members]
            applied += [f"dropped={name}" for name in (*stripped, *prepared.dropped)]
        return Order(
            candidate.provider,
            Outgoing(operation.method, prepared.url_path, fields, body, memo=lines),
            operation.dialect,
            Treatment.MODEL,
            upstream_model=candidate.upstream_model,
            stream=self.stream,
            added_usage=added_usage,
            applied=tuple(applied),
            model=candidate.model,
        )

    def _prepared(
        self, candidate: Candidate, changes: Mapping[str, bytes], via: str
    ) -> _Shape:
        """What the adapter says; remembered with the head, which comes again."""
        call, adapter = self._call, candidate.provider.adapter
        names = self._members.names
        key = (
            adapter,
            self._operation.name,
            candidate.upstream_model,
            self.model,
            self.stream,
            names.union(changes) if changes else names,
            call.query,
        )
        shape: _Shape | None = call.headers.memo.get(key)
        if shape is not None:
            return shape
        prepared = adapter.prepare(
            Request(
                operation=self._operation,
                model=candidate.upstream_model,
                asked_model=self.model,
                stream=self.stream,
                fields=key[5],
                headers=_json_headers(call),
                query=call.query,
            )
        )
        fields = tuple(heads.towards_upstream(prepared.headers, call, via))
        shape = (prepared, fields, {})
        if len(self.model) + sum(map(len, names)) <= _LONGEST_SHAPE:
            if len(call.headers.memo) >= _REMEMBERED_SHAPES:
                call.headers.memo.clear()
            call.headers.memo[key] = shape
        return shape

    def _configured(
        self, model: ModelConfig | None
    ) -> tuple[dict[str, bytes], list[str]]:
        """What the operator sets for this model: always, and where it is absent."""
        if model is None or not (model.params.defaults or model.params.set_):
            return {}, []
        absent = {
            name: value
            for name, value in model.params.defaults.items()
            if name not in self._members
        }
        wanted: Mapping[str, object] = {**absent, **model.params.set_}
        changes = {name: orjson.dumps(value) for name, value in wanted.items()}
        return changes, [f"set={name}" for name in changes]

    def _wants_usage(self, known_there: bool) -> bool:
        if not (self.stream and known_there and self._operation.name in _USAGE_STREAMS):
            return False
        try:
            options = self._members.value("stream_options")
        except WrongType as error:
            raise _wrong_type(error) from error
        if options is None:
            return True
        if not isinstance(options, dict):
            raise _wrong_type(WrongType("stream_options", "an object"))
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


@dataclass(slots=True)
class FormRequest:
    """A multipart request: its head up to the model is here, the rest still comes."""

    call: Call
    operation: Operation
    finder: FieldFinder
    rest: AsyncIterator[bytes]
    model: str
    limit_bytes: int
    stream: bool = False
    previous_response_id: str | None = None

    def order_for(self, candidate: Candidate, via: str) -> Order:
        prepared = candidate.provider.adapter.prepare(
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
        start, end = self.finder.span
        name = candidate.upstream_model.encode()
        head = bytes(self.finder.head[:start]) + name + bytes(self.finder.head[end:])
        length = self.call.body.length
        if length is not None:
            length += len(name) - (end - start)
        out = Outgoing(
            self.operation.method,
            prepared.url_path,
            heads.towards_upstream(prepared.headers, self.call, via),
            self._body(head),
            length,
        )
        return Order(
            candidate.provider,
            out,
            self.operation.dialect,
            Treatment.MODEL,
            upstream_model=candidate.upstream_model,
            model=candidate.model,
        )

    async def _body(self, head: bytes) -> AsyncIterator[bytes]:
        yield head
        size = len(self.finder.head)
        async for piece in self.rest:
            size += len(piece)
            check_size(size, self.limit_bytes)
            yield piece


async def _read_form(call: Call, operation: Operation, limit_bytes: int) -> FormRequest:
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
        raise _missing_model()
    model = _named(finder.value.decode("utf-8", "replace"))
    return FormRequest(call, operation, finder, rest, model, limit_bytes)


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


def check_size(size: int, limit_bytes: int) -> None:
    """Raise CallerFault `body_too_large` past the limit."""
    if size > limit_bytes:
        raise CallerFault(
            "body_too_large", f"The body is larger than {limit_bytes} bytes."
        )


def _named(model: str | None) -> str:
    if model is None or not model:
        raise _missing_model()
    return model


def _missing_model() -> CallerFault:
    return CallerFault(
        "missing_field", "The request names no model: set `model`.", param="model"
    )


def _wrong_type(error: WrongType) -> CallerFault:
    return CallerFault("invalid_field", f"{error}.", param=error.name)
