"""One request as both doors hand it on, and what the stages may do with it.

`Call` is what the caller asked, `Reply` the way back to it, `Fetch` the way to
upstreams for everything that is not a relayed call (probes, discovery). Doors
implement Reply, relay implements Fetch; stages know only these protocols.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.core.outbox import Outbox
from proxy.core.types import Headers, Pair


class Body(Protocol):
    """The caller's request body, as it came (nothing inflated).

    `length` is the declared length in bytes, None when it was sent chunked;
    `received` counts the bytes that have been read so far; `whole` is all of it
    where it is here already, `is_here` that reading it will not wait. Both ways of reading raise CallerFault
    `request_timeout` when the caller pauses too long.
    """

    length: int | None
    received: int
    whole: bytes | None

    @property
    def is_here(self) -> bool: ...

    async def read(self, limit_bytes: int) -> bytes:
        """Read all of it; raises CallerFault `body_too_large` past the limit."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Read it piece by piece; unread pieces hold the caller back."""
        ...


@dataclass(slots=True)
class Call:
    """What a caller asked. Never changed once built (not frozen: built per request).

    `operation` names a row of providers.base.OPERATIONS; `path` is decoded once,
    `target` is path and query exactly as sent; `params` are the path's variables.
    """

    id: str
    client_request_id: str | None
    operation: str
    method: str
    path: str
    target: str
    query: str
    params: Mapping[str, str]
    headers: Headers
    peer: str
    secure: bool
    body: Body
    started_at: float


class Pausable(Protocol):
    """A source of bytes that can be told to hold on."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Reply(Protocol):
    """The way back to the caller. Nothing here waits; back-pressure goes to `source`.

    Order: start, any number of writes, then end or abort, each at most once.
    Calls after the caller has gone do nothing.
    """

    @property
    def started(self) -> bool: ...

    @property
    def ended(self) -> bool: ...

    @property
    def gone(self) -> bool: ...

    @property
    def paused(self) -> bool: ...

    @property
    def bytes_out(self) -> int: ...

    @property
    def status(self) -> int: ...

    def start(
        self,
        status: int,
        headers: Sequence[Pair],
        length: int | None,
        block: bytes = b"",
    ) -> None:
        """Send the head; `length` None means a body of unknown length follows.

        `block` are further fields, already encoded and known to be safe.
        """
        ...

    def whole(
        self, status: int, headers: Sequence[Pair], body: bytes, block: bytes = b""
    ) -> None:
        """Send head and body in one go, and end."""
        ...

    def write(self, data: bytes) -> None:
        """Send body bytes; framing is the reply's affair."""
        ...

    def lend(self, lane: Lane) -> None:
        """Let whole chunks of HTTP/1.1 leave by `lane` too, where the reply is sent in
        chunks, until it ends.
        """
        ...

    def end(self, trailers: Sequence[Pair] = (), last: bytes = b"") -> None:
        """Finish the body, with these last bytes; the connection may carry another
        request.
        """
        ...

    def abort(self) -> None:
        """Close without finishing, so that nobody takes the body for whole."""
        ...

    def feed_from(self, source: Pausable | None) -> None:
        """Name who is paused while the caller reads too slowly."""
        ...

    def upgrade(self, headers: Sequence[Pair], tunnel: Tunnel) -> Pausable:
        """Send a 101 and hand the raw connection to `tunnel`."""
        ...


class Lane(Protocol):
    """Who passes chunks on as they came, past `Reply.write`: `size_bytes` of payload."""

    size_bytes: int

    def open(self, send: Callable[[bytes], None], outbox: Outbox) -> None: ...

    def shut(self) -> None: ...


class Tunnel(Protocol):
    """The far end of an upgraded connection: raw bytes and their end."""

    def received(self, data: bytes) -> None: ...

    def closed(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A small whole answer. `elapsed_s` runs from asking to its last byte."""

    status: int
    headers: Headers
    body: bytes
    elapsed_s: float


class Fetch(Protocol):
    """Ask an upstream for something small, within a deadline.

    Raises `FetchFailed` when there is no whole answer in time; never follows
    redirects.
    """

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Pair] = (),
        body: bytes = b"",
        timeout_s: float = 5.0,
        limit_bytes: int = 8 << 20,
    ) -> Fetched: ...


class FetchFailed(Exception):
    """No whole answer: `reason` is one of refused, timeout, broken, too_large, tls."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


Callback = Callable[[], None]
