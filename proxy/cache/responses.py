"""Keeps replies: so many bytes of them, for so long, the longest unused go first.

`ReplyStore` is the contract; the one here is this process's memory, the one that
processes share is in `shared`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from providers.wire.usage import Usage
from proxy.cache.fitness import is_fit
from proxy.cache.key import Asked
from proxy.core import clock

# What an entry costs besides its body: key, objects, places in two tables.
OVERHEAD_BYTES: Final = 512


class Stored(msgspec.Struct, frozen=True):
    """A reply as it came from upstream: its body, whole or all events of a stream.

    `usage` is what it cost when it was made, as far as anybody said.
    """

    operation: str
    is_stream: bool
    body: bytes
    usage: Usage | None = None


class ReplyStore(Protocol):
    """Keeps replies for a while; may forget any at any time."""

    @property
    def size_bytes(self) -> int: ...

    def __len__(self) -> int: ...

    async def get(self, key: bytes) -> Stored | None: ...

    async def put(self, key: bytes, stored: Stored) -> None: ...


class MemoryReplies:
    """A ReplyStore within this process; nothing here ever waits."""

    def __init__(
        self,
        max_bytes: int,
        ttl_s: float,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self.size_bytes = 0
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._now = now
        self._kept: OrderedDict[bytes, tuple[float, Stored]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: bytes) -> Stored | None:
        found = self._kept.get(key)
        if found is None:
            return None
        until, stored = found
        if until <= self._now():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return stored

    async def put(self, key: bytes, stored: Stored) -> None:
        size = _size_of(stored)
        if size > self._max_bytes:
            return
        if key in self._kept:
            self._drop(key)
        while self.size_bytes + size > self._max_bytes:
            self._drop(next(iter(self._kept)))
        self._kept[key] = self._now() + self._ttl_s, stored
        self.size_bytes += size

    def _drop(self, key: bytes) -> None:
        _, stored = self._kept.pop(key)
        self.size_bytes -= _size_of(stored)


class ResponseCache:
    """Finds and keeps replies as a request's own words allow."""

    def __init__(self, store: ReplyStore) -> None:
        self._store = store

    @property
    def size(self) -> tuple[int, int]:
        """Answer how many replies are kept, and in how many bytes."""
        return len(self._store), self._store.size_bytes

    async def find(self, asked: Asked) -> Stored | None:
        return await self._store.get(asked.key) if asked.reads else None

    async def keep(
        self,
        asked: Asked,
        *,
        status: int,
        is_stream: bool,
        body: bytes,
        usage: Usage | None = None,
    ) -> bool:
        """Keep a reply that came whole from upstream, if it is fit; tells whether."""
        if not asked.stores:
            return False
        if not is_fit(asked, status, is_stream=is_stream, body=body):
            return False
        stored = Stored(asked.operation, is_stream, body, usage)
        await self._store.put(asked.key, stored)
        return True


def _size_of(stored: Stored) -> int:
    return len(stored.body) + OVERHEAD_BYTES
