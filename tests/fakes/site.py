"""A gateway's handlers behind a real socket, without the gateway."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientResponse, web
from aiohttp.test_utils import RawTestServer, TestClient
from msgspec.structs import replace

from proxy.api.context import Context
from proxy.auth.access import Access
from proxy.auth.local_token import LocalToken
from proxy.config import Config, Loaded, ProviderConfig
from proxy.config.reload import Reload
from proxy.core.call import Fetch
from proxy.core.clock import Ticker
from proxy.core.errors import GatewayError
from proxy.core.tasks import Tasks
from proxy.observability.metrics import Metrics
from proxy.routing.catalog import Catalog
from proxy.routing.dispatch import Dispatch
from proxy.routing.health import Health
from proxy.routing.registry import Provider, Registry
from proxy.sandbox.sandbox import Sandbox
from proxy.server.ordinary import PARAMS
from proxy.state.memory import MemoryState
from tests.fakes.kinds import KINDS

Handler = Callable[[web.BaseRequest, Context], Awaitable[web.Response]]
Ask = Callable[..., Awaitable[ClientResponse]]
TOKEN = "the-token-of-this-machine-and-of-no-other"


def context(
    providers: Sequence[Provider] = (), config: Config | None = None, **more: Any
) -> Context:
    """Make a Context over providers made by hand."""
    config = config or Config()
    registry = Registry((), KINDS)
    registry._providers = {provider.id: provider for provider in providers}
    registry.providers = tuple(providers)
    catalog = Catalog(config, registry.providers)
    server, tasks = config.server, Tasks(_no_fault)
    health = Health(registry, _no_fetch, tasks)
    made = Context(
        loaded=Loaded(config),
        access=Access(server.allowed_hosts, server.cors.allowed_origins),
        token=LocalToken(Path("/data/local-token"), TOKEN),
        registry=registry,
        catalog=lambda: catalog,
        dispatch=Dispatch(registry, MemoryState(), health, Ticker(), tasks, config),
        sandbox=Sandbox(config.execute, _no_fault),
        metrics=Metrics(),
        version="1.2.3",
        active=lambda: 0,
        draining=lambda: False,
        check=_no_check,
        reload=_no_reload,
        last_reload=lambda: None,
        started_at=0.0,
    )
    return replace(made, **more)


@asynccontextmanager
async def serving(
    known: Context, handlers: Mapping[str, Handler]
) -> AsyncIterator[Ask]:
    """Serve handlers by path (`/v1/models/{id}` takes a whole rest)."""

    async def serve(request: web.BaseRequest) -> web.Response:
        for pattern, handler in handlers.items():
            found = re.fullmatch(pattern.replace("{id}", "(?P<id>.+)"), request.path)
            if found is not None:
                request[PARAMS] = found.groupdict()
                return await _answered(handler, request, known)
        return web.Response(status=599)

    async with TestClient(RawTestServer(serve)) as client:  # type: TestClient[Any, Any]

        async def ask(path: str, method: str = "GET", **options: Any) -> ClientResponse:
            return await client.request(method, path, **options)

        yield ask


def _no_fetch(config: ProviderConfig) -> Fetch:
    raise AssertionError(f"{config.id} is asked")


def _no_check(provider: Provider) -> asyncio.Task[None]:
    raise AssertionError(f"{provider.id} is looked at")


async def _no_reload(trigger: str) -> Reload:
    raise AssertionError(f"reloaded by {trigger}")


async def _answered(
    handler: Handler, request: web.BaseRequest, known: Context
) -> web.Response:
    try:
        return await handler(request, known)
    except GatewayError as error:
        told = {"code": error.code, "message": error.message, "param": error.param}
        return web.Response(status=error.status, body=orjson.dumps(told))


def _no_fault(error: BaseException) -> None:
    raise AssertionError(error)
