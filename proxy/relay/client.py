"""The one HTTP client: puts a request on a connection and answers small fetches.

A kept connection may have been closed by the server in the moment we used it.
Such a request is sent once more on a fresh connection, but only where not one
byte of a reply has come (`StaleConnection`) and its body can be sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from proxy.core import clock
from proxy.core.call import Fetched, FetchFailed
from proxy.core.types import Headers, Pair
from proxy.relay.connection import Connection, Sink
from proxy.relay.errors import ConnectFailed, Phase, TimedOut, UpstreamFailed
from proxy.relay.head import ReplyHead, write_request
from proxy.relay.origin import Origin, Tls, read_origin
from proxy.relay.pool import Pool

_WITH_LENGTH: Final = frozenset({"POST", "PUT", "PATCH"})
_JOIN_BELOW: Final = 16 << 10  # one write for head and body, while copying is cheap


class Outgoing(Struct):
    """A request to an upstream. `headers` lack host and body framing.

    `body` is bytes, or an iterator of pieces with `length` bytes in all (None:
    sent chunked). `memo` remembers the encoded head for requests that differ in
    their body only.
    """

    method: str
    url_path: str
    headers: Sequence[Pair]
    body: bytes | AsyncIterator[bytes] = b""
    length: int | None = None
    memo: dict[Origin, bytes] | None = None

    def __repr__(self) -> str:
        return f"Outgoing({self.method} {self.url_path})"  # the rest holds secrets


class Client:
    """Pools by origin. Open as `async with`; closing aborts what is left."""

    def __init__(
        self, ticker: clock.Ticker, now: Callable[[], float] = clock.monotonic
    ) -> None:
        self._ticker = ticker
        self._now = now
        self._pools: dict[Origin, Pool] = {}

    async def __aenter__(self) -> Client:
        self._ticker.add(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ticker.discard(self)
        for pool in self._pools.values():
            pool.close()

    def tick(self, now: float) -> None:
        for pool in self._pools.values():
            pool.tick(now)

    def pool(self, origin: Origin) -> Pool:
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(origin, self._now)
        return pool

    def counts(self, origin: Origin) -> tuple[int, int]:
        """Busy and idle connections to an origin."""
        pool = self._pools.get(origin)
        return (pool.busy, pool.idle) if pool else (0, 0)

    def take(self, origin: Origin) -> Connection | None:
        """Answer a kept connection that is ready for a request, if there is one."""
        pool = self._pools.get(origin)
        return None if pool is None else pool.take()

    async def connect(self, origin: Origin, timeout_s: float) -> Connection:
        """Answer a fresh connection. Raises ConnectFailed, TimedOut."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.pool(origin).open()
        except TimeoutError as error:
            raise TimedOut(
                "it did not accept a connection in time", Phase.CONNECT
            ) from error

    def send(
        self, connection: Connection, origin: Origin, out: Outgoing, sink: Sink
    ) -> bool:
        """Write the request; answer True when its body is still to be pumped.

        Raises ValueError, and closes, when a field cannot be written.
        """
        memo, body = out.memo, out.body
        lines = None if memo is None else memo.get(origin)
        if lines is None:
            try:
                lines = _lines(origin, out)
            except ValueError:
                connection.abort()
                raise
        if isinstance(body, bytes):
            write(connection, out.method, lines, body, sink)
            return False
        framing = (
            b"transfer-encoding: chunked\r\n\r\n"
            if out.length is None
            else b"content-length: %d\r\n\r\n" % out.length
        )
        connection.send(out.method, lines + framing, sink, more=True)
        return True

    def fetch_for(self, tls: Tls, proxy: str | None = None) -> BoundFetch:
        """Answer a core.call.Fetch with these connection options."""
        return BoundFetch(self, tls, proxy)


def write(
    connection: Connection, method: str, lines: bytes, body: bytes, sink: Sink
) -> None:
    """Write a request that is here; `lines` is its head but for the body's framing."""
    size = len(body)
    if size or method in _WITH_LENGTH:
        lines = b"%bcontent-length: %d\r\n" % (lines, size)
    if size < _JOIN_BELOW:
        connection.send(method, b"%b\r\n%b" % (lines, body), sink)
    else:
        connection.send(method, lines + b"\r\n", sink)
        connection.write(body)


async def pump(connection: Connection, out: Outgoing) -> None:
    """Send a streamed body. Raises what reading it raises, and ConnectionResetError."""
    assert not isinstance(out.body, bytes)
    async for piece in out.body:
        if not piece:
            continue
        if out.length is None:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        await connection.send_body(piece)
    if out.length is None:
        await connection.send_body(b"0\r\n\r\n")
    connection.sent()


def _lines(origin: Origin, out: Outgoing) -> bytes:
    """Encode the head but for the body's framing, and remember it."""
    pairs = [("host", origin.authority), *origin.fields, *out.headers]
    lines = write_request(out.method, origin.target(out.url_path), pairs)
    if out.memo is not None:
        out.memo[origin] = lines
    return lines


class BoundFetch:
    """A core.call.Fetch over the client's pools."""

    def __init__(self, client: Client, tls: Tls, proxy: str | None) -> None:
        self._client = client
        self._tls = tls
        self._proxy = proxy

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Pair] = (),
        body: bytes = b"",
        timeout_s: float = 5.0,
        limit_bytes: int = 8 << 20,
    ) -> Fetched:
        parts = urlsplit(url)
        origin = read_origin(url, self._tls, self._proxy)
        path = parts.path or "/"
        out = Outgoing(
            method, f"{path}?{parts.query}" if parts.query else path, headers, body
        )
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(origin, out, limit_bytes)
        except TimeoutError as error:
            raise FetchFailed("timeout", "no answer in time") from error
        except ConnectFailed as error:
            raise FetchFailed(error.reason, error.message) from error
        except UpstreamFailed as error:
            raise FetchFailed("broken", error.message) from error

    async def _ask(self, origin: Origin, out: Outgoing, limit_bytes: int) -> Fetched:
        started = clock.monotonic()
        # Probes use their own connection: one that hangs must not sit in the pool,
        # and a probe should see whether a new caller would get through.
        connection = await self._client.connect(origin, 3600)
        collector = _Collector(connection, limit_bytes)
        try:
            self._client.send(connection, origin, out, collector)
            head = await collector.done
        finally:
            connection.drop(collector)
        elapsed = clock.monotonic() - started
        body = b"".join(collector.pieces)
        return Fetched(head.status, Headers(head.pairs), body, elapsed)


class _Collector:
    """A sink that gathers a small reply."""

    def __init__(self, connection: Connection, limit_bytes: int) -> None:
        self.done: asyncio.Future[ReplyHead] = (
            asyncio.get_running_loop().create_future()
        )
        self.pieces: list[bytes] = []
        self._connection = connection
        self._left = limit_bytes
        self._head: ReplyHead | None = None

    def on_head(self, head: ReplyHead) -> None:
        self._head = head
        if head.status == 101:
            self._connection.abort()
            self.on_failed(UpstreamFailed("it switched protocols", Phase.FIRST_BYTE))

    def on_whole(self, head: ReplyHead, body: bytes) -> None:
        self.on_head(head)
        self.on_data(body)
        self.on_end(())

    def on_data(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._connection.abort()
            self.on_failed(FetchFailed("too_large", "its answer is too large"))
        else:
            self.pieces.append(data)

    def on_end(self, trailers: tuple[Pair, ...], last: bytes = b"") -> None:
        if last:
            self.on_data(last)
        if not self.done.done() and self._head is not None:
            self.done.set_result(self._head)

    def on_failed(self, error: UpstreamFailed | FetchFailed) -> None:
        if not self.done.done():
            self.done.set_exception(error)
