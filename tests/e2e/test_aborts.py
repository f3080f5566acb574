"""Callers who go away leave nothing behind: no connection, no slot, no count."""

from __future__ import annotations

import asyncio
import json
import random
from urllib.request import urlopen

import pytest

from tests.e2e.conftest import local_provider, only
from tests.parts.faulty import Faulty, Peer, Script
from tests.parts.gateway import Gateway, Start
from tests.parts.http_text import (
    LAST_CHUNK,
    Message,
    chunk,
    event_stream_head,
    post,
    whole,
)
from tests.parts.raw import connect
from tests.parts.until import until

ABORTS = 500
AT_ONCE = 20
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
REPLY = b'{"object":"chat.completion","choices":[]}'
CHAT = "/v1/chat/completions"
# Gauges that tell a state and do not count what is under way.
MAY_STAND = (
    "local_ai_provider_health", "local_ai_workers", "local_ai_ledger_database_up",
    "local_ai_state_up",
)  # fmt: skip
IDLE = 'state="idle"'

pytestmark = pytest.mark.alone


async def moody(peer: Peer, request: Message) -> None:
    """Serve at the pace that the request names, so that aborts meet every phase.

    One that stalls, before its head or after its events, ends by its caller alone.
    """
    wish = json.loads(request.body)
    await asyncio.sleep(wish["pause"])
    if wish["stalls"] == "at once":
        await peer.wait(asyncio.Event())
    if not wish["stream"]:
        await peer.send(whole(REPLY))
        return
    await peer.send(event_stream_head())
    for _ in range(wish["events"]):
        await peer.send(chunk(EVENT))
        await asyncio.sleep(wish["pause"] / 10)
    if wish["stalls"] == "in the end":
        await peer.wait(asyncio.Event())
    await peer.send(chunk(DONE) + LAST_CHUNK)


async def endless(peer: Peer, request: Message) -> None:
    """Stream until the other end goes away."""
    await peer.send(event_stream_head() + chunk(EVENT))
    await peer.wait(asyncio.Event())


async def halfway(peer: Peer, request: Message) -> None:
    """Send the first half of a whole reply and no more."""
    await peer.send(whole(REPLY)[: -len(REPLY) // 2])
    await peer.wait(asyncio.Event())


async def silent(peer: Peer, request: Message) -> None:
    """Never answer."""
    await peer.wait(asyncio.Event())


async def test_500_random_aborts_leave_nothing_behind(gateway: Start) -> None:
    async with Faulty(moody) as upstream:
        running = await _started(gateway, upstream)
        dice = random.Random(500)
        todo = iter(range(ABORTS))

        async def work() -> None:
            for _ in todo:
                await _ask_and_go_away(running.url, dice)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        await until(lambda: not upstream.busy_peers, "upstream connections at rest")
        await _assert_gauges_return_to_zero(running)
        await _assert_still_serves(running)


@pytest.mark.parametrize(
    ("script", "stream"),
    [(silent, True), (silent, False), (endless, True), (halfway, False)],
)
async def test_the_upstream_connection_closes_within_a_second(
    gateway: Start, script: Script, stream: bool
) -> None:
    async with Faulty(script) as upstream:
        running = await _started(gateway, upstream)
        _, writer = await connect(running.url)
        writer.write(post(CHAT, _wish(stream=stream)))
        await until(lambda: upstream.busy_peers, "the request at the upstream")
        [peer] = upstream.busy_peers
        writer.transport.abort()
        async with asyncio.timeout(1):
            await peer.gone.wait()
        await _assert_gauges_return_to_zero(running)


async def test_a_real_model_server_gets_its_slot_back(
    gateway: Start, llama: str
) -> None:
    running = await gateway(only(local_provider("llama", "llamacpp", llama)))
    body = {"model": "tiny", "stream": True,
            "messages": [{"role": "user", "content": "Never stop."}]}  # fmt: skip
    reader, writer = await connect(running.url)
    writer.write(post(CHAT, json.dumps(body).encode()))
    await reader.readuntil(b"data: ")
    assert _busy_slots(llama) == 1
    writer.transport.abort()
    await until(lambda: _busy_slots(llama) == 0, "a free slot", timeout_s=2)


async def _started(gateway: Start, upstream: Faulty) -> Gateway:
    provider = local_provider("faulty", "vllm", upstream.url)
    models = [{"id": "tiny", "providerId": "faulty"}]
    return await gateway(only(provider, models=models))


async def _ask_and_go_away(url: str, dice: random.Random) -> None:
    """Send a request, or a part of one, and drop the connection at some moment."""
    request = post(
        CHAT,
        _wish(
            stream=dice.random() < 0.7,
            pause=dice.choice((0, 0.005, 0.02)),
            events=dice.randrange(40),
            stalls=dice.choice(("never", "never", "at once", "in the end")),
        ),
    )
    reader, writer = await connect(url)
    if dice.random() < 0.1:
        request = request[: dice.randrange(len(request))]
    writer.write(request)
    try:
        async with asyncio.timeout(dice.choice((0, 0.002, 0.01, 0.03))):
            await reader.readexactly(dice.randrange(1, 3000))
    except (TimeoutError, asyncio.IncompleteReadError, OSError):
        pass
    if dice.random() < 0.5:
        writer.transport.abort()
    else:
        writer.close()


async def _assert_gauges_return_to_zero(running: Gateway) -> None:
    def raised() -> dict[str, float]:
        return {
            name: value
            for name, value in running.gauges().items()
            if value != 0 and not name.startswith(MAY_STAND) and IDLE not in name
        }

    assert "local_ai_active_requests" in running.gauges()
    try:
        await until(lambda: not raised(), "gauges at zero")
    except AssertionError:
        pytest.fail(f"gauges are not at zero: {raised()}")


async def _assert_still_serves(running: Gateway) -> None:
    reader, writer = await connect(running.url)
    writer.write(post(CHAT, _wish(stream=True, events=3)))
    async with asyncio.timeout(10):
        await reader.readuntil(DONE)
    writer.close()


def _wish(
    *, stream: bool, pause: float = 0, events: int = 0, stalls: str = "never"
) -> bytes:
    content = {
        "model": "tiny", "messages": [{"role": "user", "content": "Hi"}],
        "stream": stream, "pause": pause, "events": events, "stalls": stalls,
    }  # fmt: skip
    return json.dumps(content).encode()


def _busy_slots(llama: str) -> int:
    with urlopen(f"{llama}/slots", timeout=5) as answer:
        return sum(slot["is_processing"] for slot in json.load(answer))
