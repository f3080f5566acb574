"""A provider is held back while its caller does not read, and nothing is lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.flood import ENDS, FLOOD, PIECE, PIECES
from tests.faults.rig import is_idle, request
from tests.faults.row import Way
from tests.parts.faulty import Peer
from tests.parts.http_text import LAST_CHUNK
from tests.parts.inside import run_site
from tests.parts.raw import connect
from tests.parts.until import until

# What the kernel holds in four socket buffers, what a whole reply may take before
# it is passed on, and a little of ours.
UNDER_WAY_BYTES = 48 << 20


@pytest.mark.parametrize("door", ["fast door", "ordinary door"])
@pytest.mark.parametrize("way", Way)
async def test_a_flood_waits_for_its_reader(way: Way, door: str) -> None:
    async with run_site(FLOOD.case(way).does, fast=door == "fast door") as site:
        reader, writer = await connect(site.url)
        writer.write(request(way, 0))
        peer = await site.busy_peer()
        await until(lambda: peer.held, "the provider is held back")
        await until_still(peer)
        assert peer.sent_bytes < UNDER_WAY_BYTES
        assert await take(reader) == len(PIECE) * PIECES + len(ENDS[way])
        writer.close()
        await until(lambda: is_idle(site), "every gauge at zero")
        assert (await site.record()).code is None


async def until_still(peer: Peer) -> None:
    """Wait until the provider can send nothing more."""
    sent = -1
    while sent != peer.sent_bytes:
        sent = peer.sent_bytes
        await asyncio.sleep(0.2)


async def take(reader: asyncio.StreamReader) -> int:
    """Read a reply in chunks to its end, keep nothing; answers its body's size."""
    await reader.readuntil(b"\r\n\r\n")
    total = 0
    while size := int(await reader.readuntil(b"\r\n"), 16):
        left = size + 2
        while left:
            left -= len(await reader.read(left))
        total += size
    assert await reader.readexactly(2) == LAST_CHUNK[-2:]
    return total
