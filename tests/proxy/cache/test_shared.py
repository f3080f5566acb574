from __future__ import annotations

from providers.wire.usage import Usage
from proxy.cache.responses import Stored
from proxy.cache.shared import LARGEST_BYTES, SharedReplies

STORED = Stored("chat", True, b"data: x\n\n", Usage(prompt=5, cost_usd=0.25))


class FakeBlobs:
    """Keeps everything; `kept` is what it says of itself."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.bounds: list[tuple[float, int]] = []
        self.kept = (3, 4000)

    async def get(self, key: str) -> bytes | None:
        return self.data.get(key)

    def put(self, key: str, data: bytes, ttl_s: float, most_bytes: int) -> None:
        self.data[key] = data
        self.bounds.append((ttl_s, most_bytes))


async def test_a_reply_comes_back_as_it_was() -> None:
    blobs = FakeBlobs()
    await SharedReplies(blobs, "v1", 10_000, 60.0).put(b"k", STORED)
    other = SharedReplies(blobs, "v1", 10_000, 60.0)
    assert await other.get(b"k") == STORED
    assert await other.get(b"j") is None
    assert blobs.bounds == [(60.0, 10_000)]
    assert (len(other), other.size_bytes) == (3, 4000)


async def test_what_was_made_otherwise_is_not_found() -> None:
    blobs = FakeBlobs()
    await SharedReplies(blobs, "v1", 10_000, 60.0).put(b"k", STORED)
    assert await SharedReplies(blobs, "v2", 10_000, 60.0).get(b"k") is None


async def test_what_is_no_reply_is_a_miss() -> None:
    blobs = FakeBlobs()
    store = SharedReplies(blobs, "v1", 10_000, 60.0)
    for data in (b"", b"nonsense", b"\xc0", b"\x80"):
        blobs.data[store._name(b"k")] = data
        assert await store.get(b"k") is None


async def test_what_is_too_large_is_not_sent() -> None:
    blobs = FakeBlobs()
    for most in (1000, 1 << 30):
        body = bytes(min(most, LARGEST_BYTES))
        await SharedReplies(blobs, "v1", most, 60.0).put(
            b"k", Stored("chat", True, body)
        )
    assert not blobs.data
