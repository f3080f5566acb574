"""SIGTERM: no new callers, streams may finish, exit code 0."""

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
    data_of,
    event_stream_head,
    events,
    post,
)
from tests.parts.ports import is_taken
from tests.parts.raw import connect, read_response
from tests.parts.until import until

CHAT = "/v1/chat/completions"
FIRST = b'data: {"choices":[{"index":0,"delta":{"content":"first"}}]}\n\n'
LAST = b'data: {"choices":[{"index":0,"delta":{"content":"last"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
ASK = post(CHAT, b'{"model":"tiny","messages":[],"stream":true}')


class Held:
    """An upstream's script that stops after the first event until it is released."""

    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def __call__(self, peer: Peer, request: Message) -> None:
        await peer.send(event_stream_head() + chunk(FIRST))
        await peer.wait(self.released)
        await peer.send(chunk(LAST + DONE) + LAST_CHUNK)


async def test_a_stream_finishes_after_sigterm(gateway: Start) -> None:
    held = Held()
    async with Faulty(held) as upstream:
        running = await _started(gateway, upstream, drain_s=30)
        reader, writer = await connect(running.url)
        writer.write(ASK)
        start = await reader.readuntil(b"first")
        running.terminate()
        await until(lambda: not is_taken(running.port), "a closed door")
        held.released.set()
        reply = await _rest(start, reader)
        assert reply.complete
        assert reply.body == FIRST + LAST + DONE
        await running.stopped()


async def test_past_the_drain_time_a_stream_ends_in_band(gateway: Start) -> None:
    async with Faulty(Held()) as upstream:
        running = await _started(gateway, upstream, drain_s=1)
        reader, writer = await connect(running.url)
        writer.write(ASK)
        start = await reader.readuntil(b"first")
        running.terminate()
        reply = await _rest(start, reader)
        assert reply.complete
        *before, error, done = events(reply.body)
        assert before == [FIRST]
        assert done == DONE
        content = data_of(error)
        assert isinstance(content, dict)
        assert content["error"]["code"] == "shutting_down"
        await running.stopped()


async def test_a_whole_reply_finishes_after_sigterm(gateway: Start) -> None:
    released = asyncio.Event()

    async def held(peer: Peer, request: Message) -> None:
        await peer.wait(released)
        body = b'{"object":"chat.completion"}'
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
        await peer.send(b"content-length: %d\r\n\r\n%b" % (len(body), body))

    async with Faulty(held) as upstream:
        running = await _started(gateway, upstream, drain_s=30)
        reader, writer = await connect(running.url)
        writer.write(post(CHAT, b'{"model":"tiny","messages":[]}'))
        await until(lambda: upstream.busy_peers, "the request at the upstream")
        running.terminate()
        await until(lambda: not is_taken(running.port), "a closed door")
        released.set()
        reply = await _rest(b"", reader)
        assert json.loads(reply.body) == {"object": "chat.completion"}
        await running.stopped()


async def test_an_idle_gateway_stops_at_once(gateway: Start) -> None:
    async with Faulty(Held()) as upstream:
        running = await _started(gateway, upstream, drain_s=300)
        _, writer = await connect(running.url)  # an idle caller must not hold it
        await running.stopped()
        writer.close()


async def test_a_signal_that_is_sent_again_and_again_changes_nothing(
    gateway: Start,
) -> None:
    running = await gateway(None, "--no-discover")
    await until(lambda: running.stdout, "the greeting")
    async with asyncio.timeout(10):
        while running.process.poll() is None:
            running.terminate()
            await asyncio.sleep(0)
    assert running.process.returncode == 0


async def _started(gateway: Start, upstream: Faulty, *, drain_s: int) -> Gateway:
    return await gateway(
        only(
            local_provider("faulty", "vllm", upstream.url),
            models=[{"id": "tiny", "providerId": "faulty"}],
            server={"drainSeconds": drain_s},
        )
    )


async def _rest(start: bytes, reader: asyncio.StreamReader) -> Message:
    """Read to the end of the response of which `start` was read already."""
    async with asyncio.timeout(20):
        return await read_response(reader, start)
