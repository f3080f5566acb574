"""aiohttp's connection with what a gateway needs besides.

A deadline for a head that arrives slowly, the caller's back-pressure handed to
the reply in progress, and a caller who closes is noticed at once, or soon while
nothing is read from it. These are internals of aiohttp (pinned in setup.cfg,
tested in tests/proxy/server).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from aiohttp import web
from msgspec import Struct

from providers.wire.dialect import Dialect
from proxy.auth.client_address import TrustedProxies
from proxy.core.call import Pausable, Tunnel
from proxy.core.errors import CallerFault, GatewayError, GatewayFault
from proxy.core.ids import Ids
from proxy.core.types import Headers
from proxy.server.leaving import has_left
from proxy.server.refusal import refusal
from proxy.server.reply import TransportReply

_log: Final = logging.getLogger("local_ai.server")
_LOOK_S: Final = 0.5  # upstreams are left within a second of their caller's leaving


class Manners(Struct, frozen=True):
    """How callers' connections are kept; what is here is the same for all of them."""

    head_limit_s: float
    idle_s: float
    ids: Ids
    proxies: TrustedProxies


class Handler(web.RequestHandler):
    """One caller's connection.

    `peer` is whose request is being served: who has connected, or on a connection of a
    trusted reverse proxy (`is_proxied`) whom it names.
    """

    __slots__ = (
        "_head_timer",
        "_look_timer",
        "_manners",
        "_nearest",
        "_unread_timer",
        "is_proxied",
        "peer",
        "reply",
        "secure",
    )

    def __init__(
        self, manager: web.Server, options: Mapping[str, Any], manners: Manners
    ) -> None:
        """`options` are aiohttp's, handed on as they are: to take keywords apart at each
        step was another quarter of what a connection costs.
        """
        super().__init__(manager, keepalive_timeout=manners.idle_s, **options)
        self._manners = manners
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self.reply: TransportReply | None = None
        self.peer = self._nearest = ""
        self.is_proxied = self.secure = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._note_peer(transport)

    def _note_peer(self, transport: asyncio.BaseTransport) -> None:
        """Learn who has connected."""
        name = transport.get_extra_info("peername")
        self.peer = self._nearest = name[0] if isinstance(name, tuple) else ""
        self.is_proxied = self._manners.proxies.trusts(self.peer)
        self.secure = transport.get_extra_info("sslcontext") is not None

    def note_client(self, headers: Headers) -> None:
        """Learn whose request this is, where `is_proxied`."""
        forwarded = headers.all("x-forwarded-for")
        self.peer = self._manners.proxies.client(self._nearest, forwarded)

    def data_received(self, data: bytes) -> None:
        handled = self._request_count
        super().data_received(data)
        if self._request_count != handled or self._is_busy():
            self._disarm()
        else:
            self._arm()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm()
        self._disarm_unread()
        if self._look_timer is not None:
            self._look_timer.cancel()
        if self.reply is not None:
            self.reply.lost()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        # Somebody who has closed waits for nothing: do not flush to it first.
        reply = self.reply
        if reply is not None and not reply.ended and self.transport is not None:
            self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.reply is not None:
            self.reply.hold()
        if self.transport is not None:
            self._arm_unread(self.transport)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._disarm_unread()
        if self.reply is not None:
            self.reply.go_on()

    async def drained(self) -> None:
        """Wait while the caller does not take what was written to it.

        Raises ConnectionError when it has gone.
        """
        if self.writing_paused:
            await self._drain_helper()

    def tunnel_to(self, tunnel: Tunnel) -> Pausable:
        """Give every further byte to `tunnel`; the connection closes afterwards."""
        self.set_parser(cast(Any, _TunnelFeed(tunnel)))
        return _Reading(self)

    def hold_reading(self) -> None:
        self._pause_transport_reading()

    def release_reading(self) -> None:
        self._resume_transport_reading()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP, or a defect that nobody else has caught."""
        if status < 500:
            fault: GatewayError = CallerFault(
                "invalid_field", "The request is not valid HTTP.", status=status
            )
        else:
            _log.error("a request failed", exc_info=exc)
            fault = GatewayFault("internal_error", "Internal error.")
        response = refusal(fault, Dialect.CHAT, self._manners.ids.next())
        response.force_close()
        return response

    def _is_busy(self) -> bool:
        """Tell whether what came belongs to a body or a tunnel, not to a head."""
        return (
            self._current_request is not None
            or bool(self._messages)
            or self._payload_parser is not None
            or self._upgraded
        )

    def _arm(self) -> None:
        """Begin to wait for the rest of a head."""
        if self._head_timer is None and self.transport is not None:
            self._head_timer = self._loop.call_later(
                self._manners.head_limit_s, self._head_is_late
            )

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _arm_unread(self, transport: asyncio.Transport) -> None:
        """Begin to wait for the caller to take what was written to it.

        The transport is kept here: a closed one lives until it is flushed.
        """
        self._unread_timer = self._loop.call_later(
            self._keepalive_timeout,
            self._look_at_unread,
            transport,
            transport.get_write_buffer_size(),
        )

    def _disarm_unread(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _look_at_unread(self, transport: asyncio.Transport, before: int) -> None:
        """Drop a caller who has taken nothing of a finished reply for so long."""
        # A reply that is still being relayed has its own deadline (relay.transfer).
        is_relayed = self.reply is not None and not self.reply.ended
        if is_relayed or transport.get_write_buffer_size() < before:
            self._arm_unread(transport)
        else:
            transport.abort()

    def _pause_transport_reading(self) -> None:
        super()._pause_transport_reading()
        # Not ended by going on: bodies pause often, and one look is cheap.
        if self._look_timer is None and self.transport is not None:
            self._look_timer = self._loop.call_later(_LOOK_S, self._look_at_caller)

    def _look_at_caller(self) -> None:
        """Drop a caller who has left while nothing was read from it."""
        self._look_timer = None
        transport = self.transport
        if transport is None or transport.is_closing() or transport.is_reading():
            return
        if has_left(transport):
            self.eof_received()
        self._look_timer = self._loop.call_later(_LOOK_S, self._look_at_caller)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self._is_busy() and self.transport is not None:
            late = CallerFault("request_timeout", "The head did not arrive in time.")
            self._write_alone(refusal(late, Dialect.CHAT, self._manners.ids.next()))

    def _write_alone(self, response: web.Response) -> None:
        """Send a reply to no request, and close."""
        assert isinstance(response.body, bytes)
        fields = [(name.lower(), value) for name, value in response.headers.items()]
        reply = TransportReply(
            self, version=1, keep_alive=False, bodiless=False, request_is_read=bool
        )
        reply.whole(response.status, fields, response.body)
        self.force_close()


class _TunnelFeed:
    """What aiohttp expects of a payload parser, handing bytes to a tunnel."""

    __slots__ = ("_tunnel",)

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._tunnel.received(data)
        return False, b""

    def feed_eof(self) -> None:
        self._tunnel.closed()


class _Reading:
    """Pauses and resumes reading from the caller."""

    __slots__ = ("_handler", "_paused")

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._paused = False

    def pause(self) -> None:
        if not self._paused and self._handler.transport is not None:
            self._paused = True
            self._handler.hold_reading()

    def resume(self) -> None:
        if self._paused and self._handler.transport is not None:
            self._paused = False
            self._handler.release_reading()


class Server(web.Server):
    """Makes our connection for each caller, by `make` of itself and aiohttp's options."""

    def __init__(
        self,
        *args: Any,
        make: Callable[[web.Server, Mapping[str, Any]], Handler],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._make = make
        self._options = {"loop": self._loop, **self._kwargs}

    def __call__(self) -> web.RequestHandler:
        return self._make(self, self._options)
