"""A slow reader holds the upstream back; the gateway's memory stays bounded."""

from __future__ import annotations

import asyncio
import json

from tests.e2e.conftest import local_provider, only
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

MIB = 1 << 20
FLOOD_BYTES = 200 * 1000 * 1000
EVENT_SIZES = (300, 4_000, 64_000)
GROWTH_LIMIT_BYTES = 32 * MIB
# What the kernel holds in four socket buffers, and a little of ours.
HELD_LIMIT_BYTES = 48 * MIB
READ_BYTES = 4 * MIB
CHAT = "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"


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


async def test_a_flood_to_a_slow_reader(gateway: Start) -> None:
    async with Faulty(flood) as upstream:
        running = await _started(gateway, upstream)
        await _read_flood(running, 1 * MIB)  # warm, so that growth is the flood's
        before = running.rss_bytes
        reader, writer = await connect(running.url)
        writer.write(post(CHAT, _wish(FLOOD_BYTES)))
        await until(lambda: upstream.busy_peers, "the request at the upstream")
        [peer] = upstream.busy_peers
        await _until_still(peer)
        assert peer.held
        assert peer.sent_bytes < HELD_LIMIT_BYTES
        highest = running.rss_bytes
        received, tail = 0, b""
        while not tail.endswith(LAST_CHUNK):
            received_before = received
            while received < received_before + READ_BYTES:
                data = await reader.read(MIB)
                assert data, f"the stream ended after {received} bytes"
                received += len(data)
                tail = (tail + data)[-16:]
                if tail.endswith(LAST_CHUNK):
                    break
            highest = max(highest, running.rss_bytes)
        writer.close()
    assert received > FLOOD_BYTES
    assert highest - before < GROWTH_LIMIT_BYTES, f"{(highest - before) / MIB:.1f} MiB"


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


async def _started(gateway: Start, upstream: Faulty) -> Gateway:
    provider = local_provider("faulty", "vllm", upstream.url)
    models = [{"id": "tiny", "providerId": "faulty"}]
    return await gateway(only(provider, models=models))


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
