"""Serve: the runtime behind a listening socket, from start to drained stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import signal
import ssl
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import aiohttp
import uvloop
from aiohttp import web

from proxy import __version__
from proxy.api.context import Context
from proxy.config import Config, Loaded
from proxy.core.errors import GatewayFault
from proxy.core.ids import Ids
from proxy.observability import logs
from proxy.routes import RESERVED, ROUTES
from proxy.routing.greeting import greeting
from proxy.runtime import Runtime, describe
from proxy.server.fast import FastDoor, FastHandler
from proxy.server.handler import Handler, Server
from proxy.server.head import HeadReader
from proxy.server.ordinary import PARAMS, OrdinaryDoor
from proxy.server.port import holder_of
from proxy.server.router import Router

_log: Final = logging.getLogger("local_ai")
_LAST_WORDS_S: Final = 2.0
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
_TESTED_AIOHTTP: Final = "3.14."


def serve(loaded: Loaded) -> int:
    """Run until told to stop. Answers the exit code: 0 after a stop, 1 if it failed."""
    logging_config = loaded.config.logging
    logs.setup(logging_config.level, logging_config.format)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(loaded))
    except KeyboardInterrupt:
        return 0


async def _serve(loaded: Loaded) -> int:
    config = loaded.config
    async with Runtime(loaded) as runtime:
        door, runner = doors(runtime)
        await runner.setup()
        try:
            await _site(runner, config).start()
        except (OSError, ssl.SSLError) as error:
            await runner.cleanup()
            return _cannot_listen(config, error)
        stop = _stop_signals()
        await runtime.look_around()
        _settle_memory()
        address = describe(config, runner.addresses[0][1])
        print(greeting(config, runtime.registry.providers, address), flush=True)
        await stop.wait()
        await drain(runtime, door, runner)
        _hear_no_more()
    return 0


def doors(runtime: Runtime) -> tuple[OrdinaryDoor, web.ServerRunner]:
    """Make what answers callers; nothing listens yet."""
    door = _door(runtime)
    server = Server(
        door,
        handler_cancellation=True,
        make=_connections(runtime, door),
        keepalive_timeout=runtime.config.server.idle_keep_alive_seconds,
        access_log=None,
        auto_decompress=False,
        max_line_size=16 << 10,
        max_field_size=32 << 10,
    )
    return door, web.ServerRunner(server)


async def drain(runtime: Runtime, door: OrdinaryDoor, runner: web.ServerRunner) -> None:
    """Stop accepting, let calls finish, then end the rest in-band."""
    pipeline, limit_s = runtime.pipeline, runtime.config.server.drain_seconds
    door.closing = True
    pipeline.stop_accepting()
    for site in list(runner.sites):
        await site.stop()
    if pipeline.active:
        _log.info("stopping: %d requests are given %g s", pipeline.active, limit_s)
    if not await pipeline.idle_within(limit_s):
        pipeline.interrupt_all(
            GatewayFault("shutting_down", "The gateway is stopping.", retry_after_s=5.0)
        )
        await pipeline.idle_within(_LAST_WORDS_S)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS_S):
            await runner.shutdown()
            await runner.cleanup()


def _context(runtime: Runtime) -> Context:
    pipeline = runtime.pipeline
    return Context(
        config=runtime.config,
        registry=runtime.registry,
        catalog=runtime.catalog,
        metrics=runtime.metrics,
        version=__version__,
        active=lambda: pipeline.active,
        draining=lambda: pipeline.draining,
        started_at=runtime.started_at,
    )


def _door(runtime: Runtime) -> OrdinaryDoor:
    context = _context(runtime)

    async def plain(
        handler: Any, request: web.BaseRequest, params: Mapping[str, str]
    ) -> web.Response:
        request[PARAMS] = params
        response: web.Response = await handler(request, context)
        return response

    return OrdinaryDoor(
        Router(ROUTES, RESERVED),
        runtime.access,
        runtime.pipeline.run,
        plain,
        body_idle_s=runtime.config.server.body_idle_seconds,
    )


def _connections(runtime: Runtime, door: OrdinaryDoor) -> Callable[..., Handler]:
    """What is made for each caller: with the fast door, unless it is shut."""
    server = runtime.config.server
    make = partial(Handler, head_limit_s=server.head_timeout_seconds, ids=Ids())
    if not server.fast_path:
        return make
    if not aiohttp.__version__.startswith(_TESTED_AIOHTTP):
        _log.warning("aiohttp %s is not known: no fast path", aiohttp.__version__)
        return make
    fast = FastDoor(
        reader=HeadReader(route for route in ROUTES if route.hot),
        run=runtime.pipeline.run,
        count=runtime.metrics.fast_path,
        ids=Ids(),
        max_body_bytes=server.max_body_bytes,
        body_idle_s=server.body_idle_seconds,
        is_closing=lambda: door.closing,
    )
    return partial(FastHandler, door=fast, **make.keywords)


def _site(runner: web.ServerRunner, config: Config) -> web.TCPSite:
    server, context = config.server, None
    if server.tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(server.tls.cert_file, server.tls.key_file)
    return web.TCPSite(
        runner, server.host, server.port, ssl_context=context, backlog=4096
    )


def _settle_memory() -> None:
    """Keep the collector away from what lives as long as the process.

    Requests leave no cycles behind, so it has little to find; walking all modules
    each time it looks showed as 40 ms of delay (bench: p99).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _stop_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in _STOPPING:
        loop.add_signal_handler(name, stop.set)
    return stop


def _hear_no_more() -> None:
    """Ignore whoever says it again: the last steps of a good end stay one."""
    loop = asyncio.get_running_loop()
    for name in _STOPPING:
        loop.remove_signal_handler(name)
        signal.signal(name, signal.SIG_IGN)


def _cannot_listen(config: Config, error: OSError) -> int:
    server = config.server
    place = f"{server.host}:{server.port}"
    if error.errno == errno.EADDRINUSE:
        who = holder_of(server.port)
        print(
            f"Cannot listen on {place}: the port is in use"
            f"{f' by {who}' if who else ''}. Stop that, or choose another with --port.",
            file=sys.stderr,
        )
    else:
        why = error.strerror or "the certificate or key cannot be used"
        print(f"Cannot listen on {place}: {why}.", file=sys.stderr)
    return 1
