"""The front: both doors and the handlers, wired to the runtime.

What a configuration decides about them is made anew by a reload. Limits of a
caller's connection are those of its opening: they hold until it closes.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Mapping
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp import web

from proxy import __version__
from proxy.accounting.live import Shown, watch
from proxy.api.context import Context, nobody
from proxy.api.guard import check_caller
from proxy.auth.client_address import TrustedProxies
from proxy.auth.local_token import LocalToken
from proxy.core.ids import Ids
from proxy.core.outbox import Outbox
from proxy.pipeline.metering import Metering
from proxy.routes import RESERVED, ROUTES
from proxy.runtime import Runtime
from proxy.server.fast import FastDoor, FastHandler
from proxy.server.handler import Handler, Manners
from proxy.server.head import HeadReader
from proxy.server.ordinary import PARAMS, Destination, OrdinaryDoor
from proxy.server.router import Router
from proxy.workers.fleet import Fleet

_log: Final = logging.getLogger("local_ai")
_TESTED_AIOHTTP: Final = "3.14."


class Front:
    """Answers requests, and makes what holds each caller's connection.

    `closing`: replies that begin from now on close their connection.
    """

    def __init__(
        self, runtime: Runtime, token: LocalToken | None, fleet: Fleet | None = None
    ) -> None:
        """`token` None: nobody is let in to the admin routes. `fleet` None: there are no
        other workers.
        """
        self.closing = False
        self._runtime = runtime
        self._token = token
        self._fleet = fleet
        self._router: Router[Destination] = Router(ROUTES, RESERVED)
        self._reader = HeadReader(route for route in ROUTES if route.hot)
        self._ids = Ids()
        self._outbox = Outbox()
        self._knows_aiohttp = aiohttp.__version__.startswith(_TESTED_AIOHTTP)
        if not self._knows_aiohttp:
            _log.warning("aiohttp %s is not known: no fast path", aiohttp.__version__)
        self._follow()
        runtime.on_reload(self._follow)

    def __call__(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        door = self._door
        door.closing = self.closing
        return door(request)

    def connection(self, manager: web.Server, options: Mapping[str, Any]) -> Handler:
        """Make what holds one caller's connection; `options` are aiohttp's."""
        if self._runtime.config.server.fast_path and self._knows_aiohttp:
            return FastHandler(manager, options, self._manners, self._fast_door)
        return Handler(manager, options, self._manners)

    def _follow(self) -> None:
        """Do as the configuration in force says."""
        runtime, server = self._runtime, self._runtime.config.server
        self._manners = Manners(
            head_limit_s=server.head_timeout_seconds,
            idle_s=server.idle_keep_alive_seconds,
            ids=self._ids,
            proxies=TrustedProxies(server.trusted_proxies),
        )
        self._door = OrdinaryDoor(
            self._router,
            runtime.access,
            runtime.run,
            partial(_answer, self._context()),
            body_idle_s=server.body_idle_seconds,
        )
        self._fast_door = FastDoor(
            reader=self._reader,
            now=runtime,
            run=runtime.run,
            taken=runtime.metrics.fast_path(taken=True, reason="hot"),
            count=runtime.metrics.fast_path,
            ids=self._ids,
            max_body_bytes=server.max_body_bytes,
            body_idle_s=server.body_idle_seconds,
            front=self,
            outbox=self._outbox,
        )

    def _context(self) -> Context:
        runtime, fleet = self._runtime, self._fleet
        return Context(
            loaded=runtime.loaded,
            access=runtime.access,
            token=self._token,
            registry=runtime.registry,
            catalog=runtime.catalog,
            dispatch=runtime.dispatch,
            sandbox=runtime.sandbox,
            metrics=runtime.metrics,
            version=__version__,
            active=lambda: runtime.active,
            draining=lambda: runtime.draining,
            check=runtime.discovery.check,
            reload=runtime.reload,
            last_reload=lambda: runtime.last_reload,
            started_at=runtime.started_at,
            shared_state=lambda: _state_of(runtime),
            exposition=None if fleet is None else fleet.exposition,
            tell_others=nobody if fleet is None else fleet.tell,
            busy_elsewhere=nobody if fleet is None else fleet.busy,
            authenticator=runtime.authenticator,
            keys=None if runtime.keyring is None else runtime.keyring.admin,
            records=runtime.records,
            watch=self._watch if fleet is None else fleet.watch,
            metering=Metering(
                runtime.limits,
                runtime.allowance.refused,
                runtime.express.desk.report,
            ),
        )

    def _watch(self, pause_s: float) -> AsyncGenerator[Shown]:
        runtime = self._runtime
        return watch(runtime.tail, lambda: runtime.config.metrics.currency, pause_s)


def _state_of(runtime: Runtime) -> str | None:
    if not runtime.is_shared:
        return None
    return "away" if runtime.state.is_away else "ok"


async def _answer(
    context: Context,
    row: Destination,
    request: web.BaseRequest,
    params: Mapping[str, str],
) -> web.Response:
    request[PARAMS] = params
    await check_caller(row.access, request, context)
    response: web.Response = await row.handler(request, context)
    return response
