"""Every URL on one page. Rows with an operation walk the pipeline, others a handler.

`access` says who may call: public, inference (anybody while authentication is
off), reach: decided by the provider's adapter, path by path, local: this machine,
or owner: this machine with the local token. `hot` names the
targets of a row, exactly as sent, whose POSTs the fast door may take.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct, field

from providers.base import ASKABLE, OPERATIONS
from providers.wire.dialect import Dialect
from proxy.api import (
    admin,
    admin_keys,
    admin_providers,
    admin_route,
    execute,
    info,
    models,
    ollama,
    ops,
    records,
)
from proxy.api.metered import metered
from proxy.api.owner import for_owner
from proxy.pipeline.passage import FORWARD, PASS_THROUGH, RESPONSE_OBJECT
from proxy.pipeline.unified import UNIFIED
from proxy.server.router import ANY
from proxy.web import errors, home

Handler = Callable[..., Awaitable[Any]]


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


class Route(Struct, frozen=True):
    """One row; its fields are those of server.ordinary.Destination."""

    method: str
    path: str
    tag: str
    access: str = "inference"
    operation: str | None = None
    handler: Handler | None = None
    fixed: Mapping[str, str] = field(default_factory=_nothing)
    prefix_segments: int = 0
    dialect: Dialect = Dialect.CHAT
    hot: tuple[str, ...] = ()


def _model(path: str, operation: str, *, hot: bool = False) -> Route:
    dialect = OPERATIONS[operation].dialect
    return Route(
        "POST", path, "anthropic" if dialect is Dialect.MESSAGES else "openai",
        operation=operation, dialect=dialect, hot=_targets(path, dialect) if hot else (),
    )  # fmt: skip


def _targets(path: str, dialect: Dialect) -> tuple[str, ...]:
    """A path as clients ask for it; Anthropic's mark what is beta in the query."""
    return (path, f"{path}?beta=true") if dialect is Dialect.MESSAGES else (path,)


def _get(path: str, handler: Handler, tag: str, access: str = "public") -> Route:
    return Route("GET", path, tag, access, handler=handler)


def _execution(path: str, handler: Handler) -> Route:
    return Route("POST", path, "execution", "execute", handler=handler)


def _ollama_model(operation: str, *, hot: bool = False) -> Route:
    path = ASKABLE[operation].path
    return Route(
        "POST", path, "ollama", operation=operation, dialect=Dialect.OLLAMA,
        hot=(path,) if hot else (),
    )  # fmt: skip


def _ollama(method: str, path: str, handler: Handler) -> Route:
    return Route(method, path, "ollama", handler=handler, dialect=Dialect.OLLAMA)


def _admin(method: str, path: str, handler: Handler) -> Route:
    return Route(method, f"/admin{path}", "admin", "owner", handler=for_owner(handler))


def _anthropic_get(path: str, handler: Handler) -> Route:
    return Route("GET", path, "anthropic", handler=handler, dialect=Dialect.MESSAGES)


def _response(method: str, path: str) -> Route:
    return Route(
        method, path, "openai", operation=RESPONSE_OBJECT, dialect=Dialect.RESPONSES
    )


def _passage(
    path: str, segments: int, *, hot: tuple[str, ...] = (), **fixed: str
) -> Route:
    """`hot` are paths below it."""
    base = path.removesuffix("/{rest:*}")
    return Route(
        ANY, path, "pass-through", "reach", operation=PASS_THROUGH,
        fixed=fixed, prefix_segments=segments,
        hot=tuple(base + below for below in hot),
    )  # fmt: skip


# What an Ollama's owner does with it.
_OWNERS_VERBS: Final = ("pull", "push", "create", "copy")

# What clients of a provider's own API ask for all the time.
_HOT_V1: Final = (
    "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings",
    "/v1/messages",
)  # fmt: skip
_HOT_OLLAMA: Final = (
    "/api/chat", "/api/generate", "/api/embed", "/api/embeddings", *_HOT_V1,
)  # fmt: skip
_HOT_LMSTUDIO: Final = (
    "/api/v0/chat/completions", "/api/v0/completions", "/api/v0/embeddings", *_HOT_V1,
)  # fmt: skip


ROUTES: Final = (
    # OpenAI dialect
    _model("/v1/chat/completions", "chat", hot=True),
    _model("/v1/completions", "completions", hot=True),
    _model("/v1/responses", "responses", hot=True),
    # No ids: like all of /v1 that we do not know, they go on unchanged.
    Route("POST", "/v1/responses/compact", "openai", operation=FORWARD),
    Route("POST", "/v1/responses/input_tokens", "openai", operation=FORWARD),
    _response("GET", "/v1/responses/{id}"),
    _response("DELETE", "/v1/responses/{id}"),
    _response("POST", "/v1/responses/{id}/cancel"),
    _response("GET", "/v1/responses/{id}/input_items"),
    _model("/v1/embeddings", "embeddings", hot=True),
    _model("/v1/rerank", "rerank"),
    _model("/v1/moderations", "moderations"),
    _model("/v1/audio/speech", "speech"),
    _model("/v1/audio/transcriptions", "transcriptions"),
    _model("/v1/audio/translations", "translations"),
    _model("/v1/images/generations", "image_generations"),
    _model("/v1/images/edits", "image_edits"),
    _get("/v1/models", models.list_models, "openai", "inference"),
    _get("/v1/models/{id:*}", models.get_model, "openai", "inference"),
    _get("/v1/info", info.info, "openai", "inference"),
    Route(ANY, "/v1/{rest:*}", "openai", operation=FORWARD),
    # Anthropic dialect
    _model("/v1/messages", "messages", hot=True),
    _model("/v1/messages/count_tokens", "count_tokens", hot=True),
    _model("/anthropic/v1/messages", "messages", hot=True),
    _model("/anthropic/v1/messages/count_tokens", "count_tokens", hot=True),
    _anthropic_get("/anthropic/v1/models", models.list_models),
    _anthropic_get("/anthropic/v1/models/{id:*}", models.get_model),
    Route("POST", "/llm", "unified", operation=UNIFIED),
    # Ollama's dialect, over all providers
    _ollama_model("ollama_chat", hot=True),
    _ollama_model("ollama_generate", hot=True),
    _ollama_model("ollama_embed", hot=True),
    _ollama_model("ollama_embeddings"),
    _ollama("GET", "/api/tags", ollama.tags),
    _ollama("GET", "/api/ps", ollama.running),
    _ollama("POST", "/api/show", ollama.show),
    _ollama("GET", "/api/version", ollama.version),
    *(_ollama("POST", f"/api/{verb}", ollama.refuse) for verb in _OWNERS_VERBS),
    _ollama("DELETE", "/api/delete", ollama.refuse),
    _ollama(ANY, "/api/blobs/{rest:*}", ollama.refuse),
    # Direct pass-through
    _passage("/ollama/{rest:*}", 1, hot=_HOT_OLLAMA, kind="ollama"),
    _passage("/lmstudio/{rest:*}", 1, hot=_HOT_LMSTUDIO, kind="lmstudio"),
    _passage("/providers/{provider}/{rest:*}", 2),
    # Code
    _execution("/execute", metered("execute", execute.execute)),
    # Operations
    _get("/", home.home, "operations"),
    _get("/health", ops.health, "operations"),
    _get("/healthz", ops.healthz, "operations"),
    _get("/readyz", ops.readyz, "operations"),
    _get("/metrics", ops.metrics, "operations", "local"),
    _get("/errors", errors.errors, "operations"),
    # For the owner
    _admin("GET", "/providers", admin_providers.list_providers),
    _admin("POST", "/providers/{id}/enable", admin_providers.enable),
    _admin("POST", "/providers/{id}/disable", admin_providers.disable),
    _admin("POST", "/providers/{id}/drain", admin_providers.drain),
    _admin("POST", "/providers/{id}/probe", admin_providers.probe),
    _admin("GET", "/keys", admin_keys.list_keys),
    _admin("POST", "/keys", admin_keys.create_key),
    _admin("PATCH", "/keys/{id}", admin_keys.change_key),
    _admin("DELETE", "/keys/{id}", admin_keys.revoke_key),
    _admin("POST", "/keys/{id}/rotate", admin_keys.rotate_key),
    _admin("GET", "/route", admin_route.ask_route),
    _admin("POST", "/route", admin_route.post_route),
    _admin("GET", "/requests", records.list_requests),
    _admin("GET", "/requests/stream", records.stream_requests),
    _admin("GET", "/requests/{id}", records.get_request),
    _admin("GET", "/usage", records.usage),
    _admin("GET", "/usage/daily", records.daily_usage),
    _admin("GET", "/config", admin.show_config),
    _admin("POST", "/reload", admin.reload),
)

# Later floors: never forwarded, so that nobody comes to rely on it (http-api §9).
RESERVED: Final = (
    "/v1/images/upload",
    "/v1/images/store",
    "/v1/tools",
    "/v1/memory",
    "/v1/system-prompts",
    "/v1/tenant",
)
