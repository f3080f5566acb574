"""GET /: what this is, what was found, the address for clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import orjson
from aiohttp import web

from proxy.config import Config
from proxy.routing.catalog import Catalog
from proxy.routing.discovery import GATEWAY_NAME
from proxy.routing.registry import Provider, Registry
from proxy.web.page import Html, element, html_reply, link, page, table

_LINKS: Final = ("/v1/models", "/v1/info", "/health?verbose=1", "/metrics", "/errors")
_SHOWN_MODELS: Final = 100


class Site(Protocol):
    """What the page shows of the gateway. (api.Context is one; api is a stranger.)"""

    @property
    def config(self) -> Config: ...

    @property
    def registry(self) -> Registry: ...

    @property
    def catalog(self) -> Callable[[], Catalog]: ...

    @property
    def version(self) -> str: ...


async def home(request: web.BaseRequest, context: Site) -> web.Response:
    """Answer the page, or JSON to who accepts nothing else."""
    address = f"{request.scheme}://{request.host}/v1"
    accept = request.headers.get("accept", "").lower()
    if "application/json" in accept and "html" not in accept and "*/*" not in accept:
        return web.Response(
            body=orjson.dumps(_document(context, address)),
            content_type="application/json",
        )
    return html_reply(_page(context, address))


def _document(context: Site, address: str) -> dict[str, object]:
    # `name` is how another gateway knows that this is no model server.
    return {
        "name": GATEWAY_NAME,
        "version": context.version,
        "base_url": address,
        "providers": [
            {"id": p.id, "kind": p.kind, "status": p.status, "models": len(p.models)}
            for p in context.registry.providers
        ],
        "links": list(_LINKS),
    }


def _page(context: Site, address: str) -> str:
    return page(
        GATEWAY_NAME,
        element("h1", GATEWAY_NAME),
        element("p", "One OpenAI-compatible address in front of your model servers. "
                     f"Version {context.version}."),
        element("h2", "Address for clients"),
        element("pre", address),
        element("h2", "Providers"),
        _providers(context),
        element("h2", "Models"),
        _models(context.catalog()),
        element("h2", "More"),
        element("ul", *(element("li", link(path)) for path in _LINKS)),
    )  # fmt: skip


def _providers(context: Site) -> Html:
    providers = context.registry.providers
    if not providers:
        return element("p", "None was found. Start a model server, or add one under ",
                       element("code", "providers"), " in config.yaml.")  # fmt: skip
    # With authentication on, addresses and errors are for admins (http-api §1).
    is_open = not context.config.auth.enabled
    head = ("Name", "Kind", "Status", "Models", *(("Address",) if is_open else ()))
    return table(head, (_row(provider, is_open) for provider in providers))


def _row(provider: Provider, is_open: bool) -> tuple[str, ...]:
    row = (
        provider.config.name or provider.id,
        provider.kind,
        provider.status.value,
        str(len(provider.models)),
    )
    if not is_open:
        return row
    why = f" ({provider.last_error})" if provider.last_error else ""
    return (*row[:2], row[2] + why, row[3], provider.config.base_url)


def _models(catalog: Catalog) -> Html:
    models = catalog.models
    if not models:
        return element("p", "None yet.")
    rows = [
        (model.id, ", ".join(c.provider.id for c in model.candidates), model.state)
        for model in models[:_SHOWN_MODELS]
    ]
    shown = table(("Name", "Provider", "State"), rows)
    if len(models) == len(rows):
        return shown
    rest = element("p", f"{len(models) - len(rows)} more: ", link("/v1/models"))
    return Html(shown + rest)
