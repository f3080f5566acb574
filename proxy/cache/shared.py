"""Replies that several processes share, kept by the state they share."""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.cache.responses import OVERHEAD_BYTES, Stored
from proxy.state.base import Blobs

LARGEST_BYTES: Final = 8 << 20
"""A larger reply is not worth the way."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Stored).decode


class SharedReplies:
    """A ReplyStore at the shared state. `made_by` names what answers depend on besides
    the request: what others have made otherwise is not found.
    """

    def __init__(
        self, blobs: Blobs, made_by: str, max_bytes: int, ttl_s: float
    ) -> None:
        self._blobs = blobs
        self._made_by = made_by
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s

    def __len__(self) -> int:
        return self._blobs.kept[0]

    @property
    def size_bytes(self) -> int:
        """Those of all processes, as last known."""
        return self._blobs.kept[1]

    async def get(self, key: bytes) -> Stored | None:
        found = await self._blobs.get(self._name(key))
        if found is None:
            return None
        try:
            return _decode(found)
        except msgspec.DecodeError:
            return None

    async def put(self, key: bytes, stored: Stored) -> None:
        if len(stored.body) + OVERHEAD_BYTES <= min(LARGEST_BYTES, self._max_bytes):
            data = _encode(stored)
            self._blobs.put(self._name(key), data, self._ttl_s, self._max_bytes)

    def _name(self, key: bytes) -> str:
        return f"{self._made_by}:{key.hex()}"
