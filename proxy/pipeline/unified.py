"""POST /llm: one address for chat, embeddings and the list of models, strictly checked.

What it asks becomes an ordinary request of OpenAI's dialect, and walks the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson
from msgspec import Struct

from providers.base import OPERATIONS, Operation
from providers.wire.members import read_members
from providers.wire.translate.fields import Node
from providers.wire.translate.problems import InvalidField, Refused
from proxy.auth.permission import may_use
from proxy.core.errors import CallerFault, GatewayFault
from proxy.core.types import Headers
from proxy.pipeline.answer import answer
from proxy.pipeline.model import JsonRequest, read_object
from proxy.pipeline.named_reply import NamedReply
from proxy.pipeline.order import Course
from proxy.routing import select
from proxy.routing.catalog import Catalog, Missing, Resolution
from proxy.routing.model import Candidate, Model
from proxy.routing.registry import Provider, Registry

UNIFIED: Final = "llm"
"""The name of the route's operation."""

_TYPES: Final = ("chat", "embeddings", "models")
_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_KNOWN: Final = frozenset(
    {"provider", "type", "model", "messages", "input", "options", "stream"}
)


class Wish(Struct, frozen=True):
    """What POST /llm was given. `body` is that of the request it becomes."""

    type: str
    provider: str | None
    model: str | None
    body: dict[str, Any]


def read_wish(found: dict[str, Any]) -> Wish:
    """Check a body, member by member. Raises CallerFault with the field at fault."""
    try:
        return _read(Node(found))
    except Refused as error:
        raise CallerFault(error.code, f"{error.message}.", param=error.param) from error


def _read(node: Node) -> Wish:
    for name in node.raw:
        if name not in _KNOWN:
            raise InvalidField(name, f"{name} is not known: put it into options")
    type_ = node.one_of("type", _TYPES) or "chat"
    provider = node.need_name("provider") if node.has("provider") else None
    model = node.need_name("model") if node.has("model") else None
    options = node.node("options") or Node({}, "options")
    if type_ == "models":
        return Wish(type_, provider, model, {})
    if model is None and provider is None:
        raise node.missing("model")
    if type_ == "embeddings":
        body = {"input": _input(node), **options.raw}
        return Wish(type_, provider, model, body)
    for message in node.need_nodes("messages"):
        if not message.has("role"):
            raise message.missing("role")
        message.one_of("role", _ROLES)
    options.number("temperature", 0, 2)
    options.number("top_p", 0, 1)
    options.integer("max_tokens", 1)
    body = {"messages": node.get("messages"), **options.raw}
    stream = node.flag("stream")
    if options.flag("stream") is None and stream is not None:
        body["stream"] = stream
    return Wish(type_, provider, model, body)


def _input(node: Node) -> Any:
    given = node.get("input")
    if given is None:
        raise node.missing("input")
    if not isinstance(given, str | list):
        raise node.wrong("input", "must be a string or an array")
    if not given or (isinstance(given, list) and "" in given):
        raise node.wrong("input", "must not be empty")
    return given


class Unified:
    """Makes ordinary requests of wishes."""

    def __init__(
        self, registry: Registry, catalog: Callable[[], Catalog], limit_bytes: int
    ) -> None:
        self._registry = registry
        self._catalog = catalog
        self._limit = limit_bytes

    async def read(self, course: Course) -> JsonRequest | None:
        """Read the wish; None where it has been answered. Raises GatewayError."""
        call = course.call
        members = await read_object(call, self._limit)
        wish = read_wish(orjson.loads(members.body))
        provider = None if wish.provider is None else self._provider(wish.provider)
        if wish.type == "models":
            _answer_models(course, self._catalog(), provider)
            return None
        operation = OPERATIONS[wish.type]
        name = _name(provider, wish.model)
        text = orjson.dumps({**wish.body, "model": name})
        # Not the caller's: it may have come compressed, and of another type.
        kept = [pair for pair in call.headers.pairs if pair[0] not in _OF_BODY]
        headers = Headers([*kept, ("content-type", "application/json")])
        course.call = replace(call, operation=operation.name, headers=headers)
        course.tells_provider = True
        request = JsonRequest(course.call, operation, read_members(text))
        if request.stream:
            course.reply = NamedReply(course.reply, partial(_asked_of, course))
        if provider is not None and wish.model is not None:
            request.pinned = self._pinned(provider, wish.model, name, operation)
        return request

    def _provider(self, name: str) -> Provider:
        try:
            return select.by_id_or_kind(self._registry, name)
        except GatewayFault as error:
            error.param = "provider"
            raise

    def _pinned(
        self, provider: Provider, model: str, name: str, operation: Operation
    ) -> Resolution | None:
        """A model that the provider may have without listing it."""
        if self._catalog().resolve(name, operation).missing is not Missing.UNKNOWN:
            return None
        if provider.adapter.way(operation) is None:
            missing = Missing.UNSUPPORTED
            return Resolution(name, operation.name, (), missing, (provider,))
        there = (Candidate(provider, model),)
        return Resolution(name, operation.name, there, everyone=there)


def _asked_of(course: Course) -> str | None:
    return None if course.order is None else course.order.provider.id


_OF_BODY: Final = frozenset({"content-type", "content-encoding", "content-length"})


def _name(provider: Provider | None, model: str | None) -> str:
    if provider is None:
        return model or ""
    return provider.id if model is None else f"{provider.id}/{model}"


def _answer_models(course: Course, catalog: Catalog, at: Provider | None) -> None:
    models = catalog.models if at is None else catalog.at(at.id)
    models = tuple(one for one in models if may_use(course.principal, one.id))
    document: dict[str, Any] = {
        "object": "list",
        "data": [_entry(model) for model in models],
    }
    if at is not None:
        document["provider"] = at.id
    answer(course, document)


def _entry(model: Model) -> dict[str, Any]:
    found, first = model.found, next(iter(model.live or model.candidates), None)
    provider = None if first is None else first.provider.id
    return {
        "id": model.id,
        "object": "model",
        "created": (found.created if found else None) or 0,
        "owned_by": (found.owned_by if found else None) or provider or "unknown",
        "provider": provider,
    }
