"""Serve: the runtime behind a listening socket, from start to drained stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import ssl
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import uvloop
from aiohttp import web

from proxy.accounting.records import NoRecords
from proxy.auth.local_token import LocalToken, open_token
from proxy.auth.open_keys import NoKeys
from proxy.config import Config, Loaded, Options
from proxy.core.errors import GatewayFault
from proxy.front import Front
from proxy.observability import logs
from proxy.routing.greeting import greeting
from proxy.runtime import Runtime, describe
from proxy.server.handler import Server
from proxy.server.listen import listen
from proxy.server.port import cannot_listen
from proxy.state.opening import NoDriver
from proxy.workers.fleet import Fleet
from proxy.workers.seat import Seat

_log: Final = logging.getLogger("local_ai")
_LAST_WORDS_S: Final = 2.0
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


def serve(
    loaded: Loaded, options: Options | None = None, seat: Seat | None = None
) -> int:
    """Run until told to stop. Answers the exit code: 0 after a stop, 1 if it failed.

    `options` are those of the command line, for a reload; `seat` is the place of one
    of several workers.
    """
    _log_as_told(loaded.config)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(loaded, options, seat))
    except NoKeys as error:
        print(f"Cannot read the keys that callers need: {error}.", file=sys.stderr)
        return 1
    except NoDriver as error:
        print(f"Cannot share state: {error}", file=sys.stderr)
        return 1
    except NoRecords as error:
        print(f"Cannot keep records: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


async def _serve(loaded: Loaded, options: Options | None, seat: Seat | None) -> int:
    config = loaded.config
    async with (
        Runtime(loaded, options, records=True) as runtime,
        _fleet(seat, runtime) as fleet,
    ):
        _show_first_key(runtime)
        runtime.on_reload(lambda: _log_as_told(runtime.config))
        token = _token(config)
        front, runner = doors(runtime, token, fleet)
        await runner.setup()
        stop = _hear_signals(runtime)
        if seat is not None:
            seat.on_orphaned(stop.set)
        try:
            listening = await open_port(runner, config, shares=seat is not None)
        except (OSError, ssl.SSLError) as error:
            await runner.cleanup()
            server = config.server
            print(cannot_listen(server.host, server.port, error), file=sys.stderr)
            return 1
        if seat is not None:
            seat.ready.touch()
        await runtime.look_around()
        runtime.tasks.start(runtime.follow_file(), "watch the configuration")
        _settle_memory()
        address = describe(config, port_of(listening))
        lines = [greeting(config, runtime.registry.providers, address)]
        if token is not None and not config.auth.enabled:  # else it opens nothing
            lines.append(f"Token for the admin routes: in {token.path}")
        if seat is None or seat.greets():
            print(*lines, sep="\n", flush=True)
        await stop.wait()
        await drain(runtime, front, runner, listening)
        _hear_no_more()
    return 0


def _fleet(
    seat: Seat | None, runtime: Runtime
) -> contextlib.AbstractAsyncContextManager[Fleet | None]:
    return contextlib.nullcontext() if seat is None else Fleet(seat, runtime)


def doors(
    runtime: Runtime, token: LocalToken | None = None, fleet: Fleet | None = None
) -> tuple[Front, web.ServerRunner]:
    """Make what answers callers; nothing listens yet."""
    front = Front(runtime, token, fleet)
    server = Server(
        front,
        handler_cancellation=True,
        make=front.connection,
        access_log=None,
        auto_decompress=False,
        max_line_size=16 << 10,
        max_field_size=32 << 10,
    )
    return front, web.ServerRunner(server)


async def drain(
    runtime: Runtime,
    front: Front,
    runner: web.ServerRunner,
    listening: Iterable[asyncio.Server],
) -> None:
    """Stop accepting, let calls finish, then end the rest in-band."""
    limit_s = runtime.config.server.drain_seconds
    front.closing = True
    runtime.stop_accepting()
    for one in listening:
        one.close()
    if runtime.active:
        _log.info("stopping: %d requests are given %g s", runtime.active, limit_s)
    if not await runtime.idle_within(limit_s):
        runtime.interrupt_all(
            GatewayFault("shutting_down", "The gateway is stopping.", retry_after_s=5.0)
        )
        await runtime.idle_within(_LAST_WORDS_S)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS_S):
            await runner.shutdown()
            await runner.cleanup()


def _log_as_told(config: Config) -> None:
    logs.setup(config.logging.level, config.logging.format)


def _token(config: Config) -> LocalToken | None:
    """The gateway serves without one too; only its admin routes are shut then."""
    try:
        return open_token(config.data_dir)
    except OSError as error:
        _log.warning("no local token can be kept, admin routes are shut: %s", error)
        return None


def _show_first_key(runtime: Runtime) -> None:
    """At once, whatever else may fail: nobody can read it again."""
    if runtime.keyring is not None and runtime.keyring.first is not None:
        secret = runtime.keyring.first.secret
        print(f"Admin key, shown only this once: {secret}", flush=True)


async def open_port(
    runner: web.ServerRunner, config: Config, *, shares: bool = False
) -> list[asyncio.Server]:
    """Listen as the configuration says; as `listen`. Raises OSError, SSLError."""
    server, context = config.server, None
    if server.tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(server.tls.cert_file, server.tls.key_file)
    assert runner.server is not None
    return await listen(runner.server, server.host, server.port, context, shares=shares)


def port_of(listening: Sequence[asyncio.Server]) -> int:
    """Answer which port it has become where any would do."""
    port: int = listening[0].sockets[0].getsockname()[1]
    return port


def _settle_memory() -> None:
    """Keep the collector away from what lives as long as the process.

    Requests leave no cycles behind, so it has little to find; walking all modules
    each time it looks showed as 40 ms of delay (bench: p99). So would a last look here,
    while the first callers wait.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _hear_signals(runtime: Runtime) -> asyncio.Event:
    """Answer what SIGTERM and SIGINT set; SIGHUP reloads.

    Not by the loop's own means: giving those up, and closing the loop, leave a signal
    to the system for a moment, which then ends the process as if it had failed.
    """
    stop = asyncio.Event()
    for name in _STOPPING:
        _hear(name, stop.set)
    _hear(signal.SIGHUP, partial(_reload, runtime, stop))
    return stop


def _hear(name: signal.Signals, act: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    signal.signal(name, lambda *_: loop.call_soon_threadsafe(act))


def _reload(runtime: Runtime, stop: asyncio.Event) -> None:
    if not stop.is_set():
        runtime.tasks.start(runtime.reload("SIGHUP"), "reload")


def _hear_no_more() -> None:
    """Ignore whoever says it again: the last steps of a good end stay one."""
    for name in (*_STOPPING, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
