"""A slow reader holds the upstream back; the gateway's memory stays bounded.

`pytest -m slow -s tests/e2e/test_memory.py` floods 200 MB at 1 MB/s and prints figures.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import local_provider, only
from tests.parts.doors import FAST, ORDINARY
from tests.parts.faulty import Faulty, Peer
from tests.parts.gateway import Gateway, Start
from tests.parts.http_text import (
    LAST_CHUNK,
    Message,
    chunk,
    event_stream_head,
    post,
)
from tests.parts.raw import connect
from tests.parts.until import until

MB = 1000 * 1000
MIB = 1 << 20
FLOOD_BYTES = 200 * MB
EVENT_SIZES = (300, 4_000, 65_000)
GROWTH_LIMIT_BYTES = 8 * MIB
# How far the upstream may be ahead of the caller: what the kernel holds in three
# socket buffers, one of which it may let grow to 32 MiB, and a little of ours.
AHEAD_LIMIT_BYTES = 40 * MIB
CALLER_BUFFER_BYTES = 256 << 10
STEP_S = 0.1
IDLE = 1000
IDLE_LIMIT_BYTES = 12 << 10
CHAT = "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"

pytestmark = pytest.mark.alone


async def flood(peer: Peer, request: Message) -> None:
    wanted = json.loads(request.body)["bytes"]
    events = [_event(size) for size in EVENT_SIZES]
    await peer.send(event_stream_head())
    sent = 0
    while sent < wanted:
        for event in events:
            await peer.send(chunk(event))
            sent += len(event)
    await peer.send(chunk(DONE) + LAST_CHUNK)


@dataclass
class Seen:
    """What a slow caller has seen: highest figures, and how long it took."""

    received: int = 0
    growth: int = 0
    ahead: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.received / MB:.0f} MB in {self.seconds:.0f} s: memory grew by "
            f"{self.growth / MIB:.1f} MiB, the upstream was ahead by "
            f"{self.ahead / MIB:.1f} MiB at most"
        )


@pytest.mark.parametrize("door", [FAST, ORDINARY])
async def test_a_slow_caller_of_a_flood(gateway: Start, door: str) -> None:
    await _assert_paced(gateway, door, 48 * MB, 16 * MB)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("door", [FAST, ORDINARY])
async def test_a_very_slow_caller_of_a_flood(gateway: Start, door: str) -> None:
    await _assert_paced(gateway, door, FLOOD_BYTES, 1 * MB)


async def test_a_slow_reader_does_not_slow_others(gateway: Start) -> None:
    async with Faulty(flood) as upstream:
        running = await _started(gateway, upstream)
        _, writer = await connect(running.url)
        writer.write(post(CHAT, _wish(FLOOD_BYTES)))
        await until(lambda: upstream.busy_peers, "the request at the upstream")
        await _until_still(upstream.busy_peers[0])
        assert await _read_flood(running, 2 * MIB) > 2 * MIB
        writer.transport.abort()
        await until(lambda: not upstream.busy_peers, "the upstream's end")


@pytest.mark.parametrize("door", [FAST, ORDINARY])
async def test_idle_connections_cost_little(gateway: Start, door: str) -> None:
    async with Faulty(flood) as upstream:
        running = await _started(gateway, upstream, fast=door == FAST)
        await _read_flood(running, 1 * MIB)
        before = running.rss_bytes
        links = [await connect(running.url) for _ in range(IDLE)]
        links[-1][1].write(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        await links[-1][0].readuntil(b"}")  # so all have been accepted
        growth = running.rss_bytes - before
        for _, writer in links:
            writer.transport.abort()
    assert growth < IDLE * IDLE_LIMIT_BYTES, f"{growth / IDLE / 1024:.1f} KiB each"


async def _assert_paced(gateway: Start, door: str, size: int, pace: int) -> None:
    """Read a flood of `size` bytes, `pace` of them a second."""
    async with Faulty(flood) as upstream:
        running = await _started(gateway, upstream, fast=door == FAST)
        await _read_flood(running, 1 * MIB)  # warm, so that growth is the flood's
        seen = await _read_slowly(running, upstream, size, pace)
    print(f"{door}, {seen}")
    assert seen.received > size
    assert seen.growth < GROWTH_LIMIT_BYTES, seen
    assert seen.ahead < AHEAD_LIMIT_BYTES, seen


async def _read_slowly(
    running: Gateway, upstream: Faulty, size: int, pace: int
) -> Seen:
    before, sent_before, seen = running.rss_bytes, _sent_bytes(upstream), Seen()
    reader, writer = await connect(running.url)
    # Left alone, the kernel would take the whole flood for a slow reader.
    taken = writer.get_extra_info("socket")
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CALLER_BUFFER_BYTES)
    writer.write(post(CHAT, _wish(size)))
    begun, tail = time.monotonic(), b""
    while not tail.endswith(LAST_CHUNK):
        due = int((time.monotonic() - begun) * pace)
        while seen.received < due and not tail.endswith(LAST_CHUNK):
            data = await reader.read(due - seen.received)
            assert data, f"the stream ended after {seen.received} bytes"
            seen.received += len(data)
            tail = (tail + data)[-16:]
        seen.growth = max(seen.growth, running.rss_bytes - before)
        ahead = _sent_bytes(upstream) - sent_before - seen.received
        seen.ahead = max(seen.ahead, ahead)
        await asyncio.sleep(STEP_S)
    writer.close()
    seen.seconds = time.monotonic() - begun
    return seen


def _sent_bytes(upstream: Faulty) -> int:
    return sum(peer.sent_bytes for peer in upstream.peers)


async def _started(gateway: Start, upstream: Faulty, *, fast: bool = True) -> Gateway:
    provider = local_provider("faulty", "vllm", upstream.url)
    models = [{"id": "tiny", "providerId": "faulty"}]
    return await gateway(only(provider, models=models, server={"fastPath": fast}))


async def _read_flood(running: Gateway, size: int) -> int:
    reader, writer = await connect(running.url)
    writer.write(post(CHAT, _wish(size)))
    received, tail = 0, b""
    async with asyncio.timeout(20):
        while not tail.endswith(LAST_CHUNK):
            data = await reader.read(MIB)
            assert data, f"the stream ended after {received} bytes"
            received += len(data)
            tail = (tail + data)[-16:]
    writer.close()
    return received


async def _until_still(peer: Peer) -> None:
    """Wait until nothing moves any more: the same count at ten looks in a row."""
    seen: list[int] = []

    def is_still() -> bool:
        seen.append(peer.sent_bytes)
        return peer.held and len(seen) > 10 and len(set(seen[-10:])) == 1

    await until(is_still, "an upstream that is held back")


def _event(size: int) -> bytes:
    content = json.dumps({"choices": [{"index": 0, "delta": {"content": "x" * size}}]})
    return b"data: %b\n\n" % content.encode()


def _wish(size: int) -> bytes:
    content = {
        "model": "tiny", "messages": [{"role": "user", "content": "Hi"}],
        "stream": True, "bytes": size,
    }  # fmt: skip
    return json.dumps(content).encode()
