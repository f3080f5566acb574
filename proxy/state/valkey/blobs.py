"""Pieces of data that processes share for a while and can do without.

They go over connections of their own, so that a large one holds up no slot. What is put
is written behind, and what cannot be had in a moment is not had at all.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, Final

from proxy.core import tasks
from proxy.core.run import in_task
from proxy.state.valkey.failures import Failures
from proxy.state.valkey.link import ERRORS, close, make_client
from proxy.state.valkey.scripts import BLOB, KEEP
from proxy.state.valkey.standing import Standing

GET_S: Final = 0.25
"""The longest that anybody waits for one."""

PUT_S: Final = 1.0
MOST_WAITING_BYTES: Final = 64 << 20
_CONNECTIONS: Final = 8

_Waiting = tuple[bytes, float, int]


class ValkeyBlobs:
    """Open as `async with`. It connects when it is first used."""

    def __init__(self, url: str, standing: Standing, failures: Failures) -> None:
        self._url = url
        self._standing = standing
        self._failures = failures
        self._client: Any = None
        self._free = asyncio.Semaphore(_CONNECTIONS)
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._waiting_bytes = 0
        self._writing: asyncio.Task[None] | None = None
        self.kept = (0, 0)

    async def __aenter__(self) -> ValkeyBlobs:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        if self._client is not None:
            await close(self._client)

    async def get(self, key: str) -> bytes | None:
        waiting = self._waiting.get(key)
        if waiting is not None:
            return waiting[0]
        if self._standing.is_away:
            return None
        await in_task()
        try:
            async with asyncio.timeout(GET_S), self._free:
                found: bytes | None = await self._connected().get(BLOB + key)
        except ERRORS as error:
            self._failures.note("blobs", error)
            return None
        return found

    def put(self, key: str, data: bytes, ttl_s: float, most_bytes: int) -> None:
        if self._standing.is_away:
            return
        if self._waiting_bytes + len(data) > min(MOST_WAITING_BYTES, most_bytes):
            return
        self._drop(key)
        self._waiting[key] = data, ttl_s, most_bytes
        self._waiting_bytes += len(data)
        if self._writing is None or self._writing.done():
            self._writing = tasks.create(self._write())

    async def _write(self) -> None:
        while self._waiting:
            key, waiting = next(iter(self._waiting.items()))
            try:
                await self._keep(key, *waiting)
            except ERRORS as error:  # it can be done without
                self._failures.note("blobs", error)
            finally:
                if self._waiting.get(key) is waiting:
                    self._drop(key)

    async def _keep(self, key: str, data: bytes, ttl_s: float, most_bytes: int) -> None:
        said = (key, data, round(ttl_s * 1000), most_bytes)
        async with asyncio.timeout(PUT_S):
            count, size = await self._connected().eval(KEEP, 0, *said)
        self.kept = count, size

    def _drop(self, key: str) -> None:
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            self._waiting_bytes -= len(waiting[0])

    def _connected(self) -> Any:
        if self._client is None:
            self._client = make_client(self._url)
        return self._client
