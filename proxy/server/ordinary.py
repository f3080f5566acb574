"""The ordinary door: an aiohttp request becomes a Call, or goes to a handler.

Model calls and pass-through go to the pipeline, all other rows to their handler
in api/, wrapped here with what every route gets (http-api §1).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, cast

from aiohttp import web

from providers.wire.dialect import Dialect
from proxy.auth.access import Access
from proxy.core import clock
from proxy.core.call import Call, Reply
from proxy.core.errors import CallerFault, GatewayError, GatewayFault
from proxy.core.ids import Ids
from proxy.core.outbox import Outbox
from proxy.core.types import Headers, Pair
from proxy.server.body import StreamedBody
from proxy.server.handler import Handler
from proxy.server.paths import Target, read_target
from proxy.server.refusal import ids, refusal
from proxy.server.reply import TransportReply
from proxy.server.router import Match, Router

_log: Final = logging.getLogger("local_ai.server")
PARAMS: Final = web.RequestKey("params", Mapping[str, str])
"""Where a handler finds the path's variables."""

ID: Final = web.RequestKey("id", str)
"""Where it finds the request's id, which is ours."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Destination(Protocol):
    """A row of the route table, as the door needs it.

    Exactly one of `operation` (for the pipeline) and `handler` is set; `fixed`
    are path variables that the row itself decides; `access` says who may call; `prefix_segments` is how many
    segments are ours before a pass-through path begins; `hot` are the targets of
    POSTs, exactly as sent, that the fast door may take.
    """

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def access(self) -> str: ...
    @property
    def operation(self) -> str | None: ...
    @property
    def handler(self) -> Any: ...
    @property
    def fixed(self) -> Mapping[str, str]: ...
    @property
    def prefix_segments(self) -> int: ...
    @property
    def dialect(self) -> Dialect: ...
    @property
    def hot(self) -> Sequence[str]: ...


class OrdinaryDoor:
    """aiohttp's request handler. `run` is the pipeline, `plain` calls a row's handler."""

    def __init__(
        self,
        router: Router[Destination],
        access: Access,
        run: Callable[[Call, Reply], Awaitable[None]],
        plain: Callable[
            [Destination, web.BaseRequest, Mapping[str, str]], Awaitable[web.Response]
        ],
        *,
        body_idle_s: float,
    ) -> None:
        self._router = router
        self._access = access
        self._run = run
        self._plain = plain
        self._body_idle_s = body_idle_s
        self._ids = Ids()
        self._outbox = Outbox()
        self.closing = False

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = _headers(request)
        name = client_id(headers)
        id_ = self._ids.next()
        try:
            target = read_target(request.raw_path)
            _check_authority(target, headers)
            if _is_preflight(request, headers):
                self._access.admit(headers)
                return _bare(204, [*ids(name or id_), *self._access.preflight(headers)])
            match = self._router.match(request.method, target.path)
            if match.row.operation is not None:
                return await self._relay(request, headers, target, match, id_, name)
            request[ID] = id_
            return await self._answer(request, headers, match, name or id_)
        except GatewayError as error:
            return self._refusal(request, headers, error, name or id_)
        except Exception:
            _log.exception("request %s failed", id_)
            fault = GatewayFault("internal_error", "Internal error.")
            return self._refusal(request, headers, fault, name or id_)

    async def _relay(
        self,
        request: web.BaseRequest,
        headers: Headers,
        target: Target,
        match: Match[Destination],
        id_: str,
        client_id: str | None,
    ) -> web.StreamResponse:
        handler = cast(Handler, request.protocol)
        if handler.is_proxied:
            handler.note_client(headers)
        content = request.content
        reply = TransportReply(
            handler,
            version=request.version.minor,
            keep_alive=request.keep_alive and not self.closing,
            bodiless=request.method == "HEAD",
            request_is_read=content.is_eof,
            outbox=self._outbox,
        )
        expects = (headers.get("expect") or "").lower() == "100-continue"

        def invite() -> None:
            if expects and not reply.started and handler.transport is not None:
                handler.transport.write(_CONTINUE)

        call = Call(
            id=id_,
            client_request_id=client_id,
            operation=cast(str, match.row.operation),
            method=request.method,
            path=target.path,
            target=target.sent,
            query=target.query,
            params=path_params(match, target),
            headers=headers,
            peer=handler.peer,
            secure=request.secure,
            body=StreamedBody(content, _length(request), self._body_idle_s, invite),
            started_at=clock.monotonic(),
        )
        handler.reply = reply
        reply.keep_end()
        try:
            await self._run(call, reply)
        finally:
            reply.release()
            handler.reply = None
        return Relayed(reply, handler)

    async def _answer(
        self,
        request: web.BaseRequest,
        headers: Headers,
        match: Match[Destination],
        shown_id: str,
    ) -> web.Response:
        self._access.admit(headers)
        response = await self._plain(match.row, request, match.params)
        pairs = ids(shown_id, _spoken((match.row,), headers))
        return _dressed(response, [*pairs, *self._access.cors(headers)])

    def _refusal(
        self,
        request: web.BaseRequest,
        headers: Headers,
        error: GatewayError,
        shown_id: str,
    ) -> web.Response:
        path = (
            "" if error.code == "invalid_path" else read_target(request.raw_path).path
        )
        dialect = _spoken(self._router.rows(path).values(), headers)
        response = refusal(error, dialect, shown_id)
        if error.code == "method_not_allowed":
            response.headers["allow"] = ", ".join(self._router.allowed(path))
        return _dressed(response, self._access.cors(headers))


class Relayed(web.StreamResponse):
    """Tells aiohttp that the reply has been written by us."""

    def __init__(self, reply: TransportReply, handler: Handler) -> None:
        super().__init__()
        self._relayed = reply
        self._handler = handler

    @property
    def keep_alive(self) -> bool | None:
        reply = self._relayed
        return reply.keep_alive and reply.ended and not reply.gone

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        # The next request waits for its caller to read: unread replies pile up here.
        await self._handler.drained()


def _headers(request: web.BaseRequest) -> Headers:
    return Headers(
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in request.raw_headers
    )


def client_id(headers: Headers) -> str | None:
    for name in ("x-request-id", "x-client-request-id"):
        value = headers.get(name)
        if value and len(value) <= 128 and value.isascii() and value.isprintable():
            return value
    return None


def path_params(match: Match[Destination], target: Target) -> dict[str, str]:
    """Answer the path's variables, and those that its row decides."""
    params = {**match.row.fixed, **match.params}
    if match.row.prefix_segments:
        params["raw_rest"] = target.raw_after(match.row.prefix_segments)
    return params


def _length(request: web.BaseRequest) -> int | None:
    if not request.can_read_body:
        return 0
    return request.content_length


def _check_authority(target: Target, headers: Headers) -> None:
    """Who may call is decided by Host, which an absolute target would replace."""
    host = headers.get("host") or ""
    if target.authority is not None and target.authority.lower() != host.lower():
        raise CallerFault(
            "invalid_path", "The target names another host than the Host field."
        )


def _is_preflight(request: web.BaseRequest, headers: Headers) -> bool:
    return (
        request.method == "OPTIONS"
        and "origin" in headers
        and "access-control-request-method" in headers
    )


def _spoken(rows: Iterable[Destination], headers: Headers) -> Dialect:
    """The dialect of a path's rows; on one of several dialects, the caller's own."""
    for row in rows:
        if row.dialect is not Dialect.CHAT:
            return row.dialect
    return Dialect.MESSAGES if "anthropic-version" in headers else Dialect.CHAT


def _bare(status: int, pairs: list[Pair]) -> web.Response:
    return _dressed(web.Response(status=status), pairs)


def _dressed(response: web.Response, pairs: list[Pair]) -> web.Response:
    for name, value in pairs:
        response.headers[name] = value
    return response
