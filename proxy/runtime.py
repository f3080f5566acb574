"""THE composition root: makes every part, opens in order, closes in reverse."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import AsyncExitStack
from typing import Final

from proxy.auth.access import Access
from proxy.config import Config, Loaded, ProviderConfig
from proxy.core import clock
from proxy.core.call import Fetch
from proxy.core.tasks import Tasks
from proxy.observability.logs import RequestLog
from proxy.observability.metrics import Feeds, Metrics
from proxy.pipeline import Pipeline
from proxy.pipeline.carry import Carrier
from proxy.pipeline.passage import Passages
from proxy.pipeline.spine import Desk
from proxy.relay.client import Client
from proxy.relay.origin import Origin, Tls, read_origin
from proxy.routing.catalog import Catalog
from proxy.routing.discovery import Discovery
from proxy.routing.registry import WELL, Registry
from proxy.routing.responses import ResponseOwners

_log: Final = logging.getLogger("local_ai")
_EVERYWHERE: Final = ("0.0.0.0", "::", "")  # noqa: S104 -- compared with, not bound


class Runtime:
    """All parts of one running gateway. Open as `async with`."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.config = config = loaded.config
        self._stack = AsyncExitStack()
        self.ticker = clock.Ticker()
        self.ticker.report_faults_to(_report)
        self.tasks = Tasks(_report)
        self.client = Client(self.ticker)
        self.origins = Origins()
        self.metrics = Metrics()
        self.registry = Registry(config.providers)
        self._catalog = Catalog(config, self.registry.providers)
        self.access = Access(
            config.server.allowed_hosts, config.server.cors.allowed_origins
        )
        self.discovery = Discovery(
            self.registry,
            self._fetch_for,
            self.tasks,
            config,
            (config.server.host, config.server.port),
        )
        self.pipeline = self._pipeline()
        self.started_at = clock.wall()

    async def __aenter__(self) -> Runtime:
        await self._stack.enter_async_context(self.ticker)
        await self._stack.enter_async_context(self.client)
        await self._stack.enter_async_context(self.tasks)
        self._rebuild()
        self.registry.on_change(self._rebuild)
        self.metrics.feed(
            Feeds(
                lambda: self.pipeline.active, self._provider_gauges, self._connections
            )
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        self._log.flush()

    async def look_around(self) -> None:
        """Find providers for the first time, and again from here on."""
        await self.discovery.first_look()
        self.ticker.add(self.discovery)
        self._stack.callback(self.ticker.discard, self.discovery)

    def catalog(self) -> Catalog:
        return self._catalog

    def _pipeline(self) -> Pipeline:
        config, owners = self.config, ResponseOwners()
        carrier = Carrier(config, self.client, self.ticker, self.origins, owners)
        passages = Passages(config, self.registry, self.catalog, owners, self.access)
        log = config.logging
        self._log = RequestLog(
            log.format,
            enabled=log.request_log.enabled,
            soon=asyncio.get_running_loop().call_soon,
        )
        desk = Desk(self._log, self.metrics)
        return Pipeline(
            config,
            self.catalog,
            carrier,
            passages,
            desk,
            instance_id=secrets.token_hex(4),
            look_again=self.discovery.look_now,
        )

    def _rebuild(self) -> None:
        self._catalog = Catalog(self.config, self.registry.providers)
        self.metrics.know_models(self._catalog.labels)

    def _fetch_for(self, provider: ProviderConfig) -> Fetch:
        origin = self.origins(provider)
        return self.client.fetch_for(origin.tls, origin.proxy)

    def _provider_gauges(self) -> list[tuple[str, int, bool]]:
        return [(p.id, p.active, p.status in WELL) for p in self.registry.providers]

    def _connections(self) -> list[tuple[str, str, int]]:
        rows: list[tuple[str, str, int]] = []
        for provider in self.registry.providers:
            busy, idle = self.client.counts(self.origins(provider.config))
            rows += [(provider.id, "busy", busy), (provider.id, "idle", idle)]
        return rows


class Origins:
    """Where each provider is. Remembered by id: asked for on every request."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ProviderConfig, Origin]] = {}

    def __call__(self, provider: ProviderConfig) -> Origin:
        known = self._known.get(provider.id)
        if known is not None and known[0] is provider:
            return known[1]
        origin = origin_of(provider)
        self._known[provider.id] = (provider, origin)
        return origin


def origin_of(provider: ProviderConfig) -> Origin:
    """Where a provider is, and how connections to it are made."""
    tls = provider.tls
    options = Tls(tls.verify, tls.ca_file, tls.cert_file, tls.key_file)
    return read_origin(provider.base_url, options, provider.proxy)


def _report(error: BaseException) -> None:
    _log.error("background work failed", exc_info=error)


def describe(config: Config, port: int | None = None) -> str:
    """The address that callers use, without a closing slash.

    `port` is the one that was taken, where the configuration leaves it open.
    """
    server = config.server
    scheme = "https" if server.tls is not None else "http"
    host = "127.0.0.1" if server.host in _EVERYWHERE else server.host
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{port or server.port}"
