"""What the gateway answers itself, where providers cannot: before and after asking.

Responses that it made go on from here; tokens are estimated where nobody counts them;
a model that is not Ollama's is "loaded" without ado.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from providers.base import ASKABLE
from providers.wire.translate.request import Request
from proxy.auth.permission import may_use
from proxy.core import clock
from proxy.core.errors import CallerFault, GatewayError, ProviderFault
from proxy.pipeline.answer import answer
from proxy.pipeline.attempts import Attempts
from proxy.pipeline.counting import estimate
from proxy.pipeline.model import JsonRequest, ModelRequest
from proxy.pipeline.narrowed import narrowed
from proxy.pipeline.order import Course
from proxy.pipeline.stored import Stored
from proxy.pipeline.translator import Translator
from proxy.routing.catalog import Catalog, Missing, Resolution

OPERATIONS: Final = frozenset(
    {"responses", "count_tokens", "embeddings", "ollama_chat", "ollama_generate"}
)
"""Those that come by here; all others go straight to a provider."""

_COUNT: Final = "count_tokens"
_NOT_THERE: Final = frozenset({404, 405, 501})
_PAGE: Final = 20
_LONGEST_PAGE: Final = 100


class Nearby:
    """Stands before `attempts`."""

    def __init__(
        self,
        attempts: Attempts,
        translator: Translator,
        catalog: Callable[[], Catalog],
        substitutes: Mapping[str, str],
    ) -> None:
        """`substitutes` name a model with embeddings by provider or kind."""
        self._substitutes = substitutes
        self._attempts = attempts
        self._translator = translator
        self._catalog = catalog

    async def serve(self, course: Course, request: ModelRequest) -> None:
        """Answer a call of one of OPERATIONS. Raises GatewayError."""
        assert isinstance(request, JsonRequest)
        operation = course.call.operation
        if operation == _COUNT:
            await self._count(course, request)
        elif operation == "responses":
            await self._go_on(course, request)
        elif operation == "embeddings":
            await self._embed(course, request)
        elif self._only_loads(course, request):
            course.record.model = request.model
            answer(course, _loaded(operation, request.model))
        else:
            await self._attempts.serve(course, request)

    def _found(self, course: Course, request: JsonRequest) -> Resolution:
        """Who serves the model, for this caller. Raises CallerFault."""
        operation, principal = ASKABLE[course.call.operation], course.principal
        found = request.pinned or self._catalog().resolve(request.model, operation)
        return narrowed(found, principal) if principal.models else found

    # -- responses ----------------------------------------------------------------------

    async def _go_on(self, course: Course, request: JsonRequest) -> None:
        previous = request.previous_response_id
        if previous is not None:
            store, tenant = self._translator.talks.store, course.record.tenant
            request.history = await store.get(previous, tenant)
            if request.history is not None:
                request.previous_response_id = None  # whoever serves need not know it
        await self._attempts.serve(course, request)

    async def answer_object(self, course: Course) -> bool:
        """Answer a call about a stored response; False where it is not one of ours."""
        call, tenant = course.call, course.record.tenant
        store, id_ = self._translator.talks.store, call.params["id"]
        stored = await store.get(id_, tenant)
        if stored is None:
            return False
        if call.method == "DELETE":
            await store.delete(id_, tenant)
            answer(course, {"id": id_, "object": "response", "deleted": True})
        elif call.path.endswith("/input_items"):
            answer(course, _page(stored, call.query))
        elif call.method == "POST":
            raise CallerFault(
                "invalid_field",
                "Only responses that run in the background can be cancelled.",
                param="id",
            )
        elif parse_qs(call.query).get("stream") == ["true"]:
            raise CallerFault(
                "unsupported_parameter",
                "A response that is complete is not streamed again.",
                param="stream",
            )
        else:
            answer(course, orjson.Fragment(stored.response))
        return True

    # -- tokens -----------------------------------------------------------------------

    async def _count(self, course: Course, request: JsonRequest) -> None:
        found = self._found(course, request)
        is_counted = found.missing is not Missing.UNSUPPORTED and not (
            found.candidates and all(c.lacks(_COUNT) for c in found.candidates)
        )
        if is_counted and not request.sealed:
            try:
                await self._attempts.serve(course, request)
            except GatewayError as error:
                if not _may_estimate(error):
                    raise
            else:
                return
        course.record.model = request.model
        asked = request.asked(self._translator)
        assert isinstance(asked, Request)
        tokens = {"input_tokens": estimate(asked)}
        answer(course, tokens, "input_tokens=estimated")

    # -- embeddings ---------------------------------------------------------------------

    async def _embed(self, course: Course, request: JsonRequest) -> None:
        """Ask another model where the provider has no embeddings at all."""
        found = self._found(course, request)
        if found.missing is Missing.UNSUPPORTED:
            named = [name for p in found.kept_out for name in (p.id, p.kind)]
            known = self._substitutes
            other = next((known[name] for name in named if name in known), None)
            if other is None:
                raise self._no_embeddings(course, found)
            request = request.instead(other)
        await self._attempts.serve(course, request)

    def _no_embeddings(self, course: Course, found: Resolution) -> CallerFault:
        able = [
            model.id
            for model in self._catalog().models
            if model.kind == "embeddings" and may_use(course.principal, model.id)
        ][:3]
        ids = ", ".join(dict.fromkeys(p.id for p in found.kept_out))
        those = f" These can: {', '.join(f'`{id_}`' for id_ in able)}." if able else ""
        return CallerFault(
            "unsupported_operation",
            f"`{found.name}` is served by {ids}, which has no embeddings, and "
            f"embeddings.substitutes names no model for it.{those}",
            param="model",
        )

    # -- Ollama's loading -------------------------------------------------------------

    def _only_loads(self, course: Course, request: JsonRequest) -> bool:
        """Tell whether it asks to load a model at a provider that knows no loading."""
        operation = ASKABLE[course.call.operation]
        name = "messages" if operation.name == "ollama_chat" else "prompt"
        if request.value(name):
            return False
        found = self._found(course, request).candidates
        if not found:
            return False
        return found[0].provider.adapter.way(operation) is not operation


def _may_estimate(error: GatewayError) -> bool:
    """Nobody counts here: it is down, busy, or has no such route."""
    if isinstance(error, ProviderFault):
        return True
    if error.code == "unsupported_operation":
        return True
    return error.code == "invalid_field" and error.status in _NOT_THERE


def _loaded(operation: str, model: str) -> dict[str, Any]:
    now = datetime.fromtimestamp(clock.wall(), UTC)
    said: dict[str, Any] = {"response": ""}
    if operation == "ollama_chat":
        said = {"message": {"role": "assistant", "content": ""}}
    made = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "model": model,
        "created_at": made,
        **said,
        "done": True,
        "done_reason": "load",
    }


def _page(stored: Stored, query: str) -> dict[str, Any]:
    """A page of the response's own input, the newest item first unless told."""
    asked = parse_qs(query)
    items: list[dict[str, Any]] = orjson.loads(stored.items)
    order = asked.get("order", ["desc"])[0]
    if order not in ("asc", "desc"):
        raise CallerFault("invalid_field", "`order` is asc or desc.", param="order")
    if order == "desc":
        items.reverse()
    limit = _limit(asked.get("limit", [str(_PAGE)])[0])
    start = 0
    if "after" in asked:
        ids = [item["id"] for item in items]
        if asked["after"][0] not in ids:
            message = "`after` names no item of this response."
            raise CallerFault("invalid_field", message, param="after")
        start = ids.index(asked["after"][0]) + 1
    shown = items[start : start + limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": start + limit < len(items),
    }


def _limit(text: str) -> int:
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    if not 1 <= limit <= _LONGEST_PAGE:
        message = f"`limit` must be a whole number from 1 to {_LONGEST_PAGE}."
        raise CallerFault("invalid_field", message, param="limit")
    return limit
