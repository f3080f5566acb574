"""How many calls a request and a chunk may cost; more must be meant and written here.

The gateway's process counts the calls that its own code makes, for exchanges in which
upstream and caller take turns, so that each chunk arrives alone. The budgets are what
the code needs, and 15 % for timers and other interpreters. Whoever lowers the cost
lowers the budget; `bin/bench` says what it was worth in time.
"""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bench import heads
from tests.bench.subject import Subject
from tests.bench.subjects import gateway_config, our_env
from tests.parts.faulty import Faulty, Peer
from tests.parts.http_text import LAST_CHUNK, Message, chunk, event_stream_head, whole
from tests.parts.ports import free_port
from tests.parts.until import until

REQUESTS = 60
CHUNKS = 200
CALLS_PER_REQUEST = 135
CALLS_PER_CHUNK = 9

pytestmark = pytest.mark.alone

REPLY = json.dumps({
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "mock",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "the fox " * 30}}],
    "usage": {"prompt_tokens": 42, "completion_tokens": 50, "total_tokens": 92},
}).encode()  # fmt: skip


def event(**fields: object) -> bytes:
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "mock"}
    return b"data: %b\n\n" % json.dumps(body | fields).encode()


def content(number: int) -> bytes:
    delta = {"content": f"<{number}>"}
    return event(choices=[{"index": 0, "delta": delta, "finish_reason": None}])


ENDING = (
    event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    + event(choices=[], usage={"prompt_tokens": 4, "completion_tokens": 2})
    + b"data: [DONE]\n\n"
)


class Turns:
    """An upstream that sends chunk after chunk, each when it is asked for."""

    def __init__(self) -> None:
        self._wanted: asyncio.Queue[int] = asyncio.Queue()

    def want(self, number: int) -> None:
        self._wanted.put_nowait(number)

    async def answer(self, peer: Peer, request: Message) -> None:
        asked = json.loads(request.body)
        if not asked.get("stream"):
            await peer.send(whole(REPLY))
            return
        await peer.send(event_stream_head())
        for _ in range(asked["max_tokens"]):
            await peer.send(chunk(content(await self._wanted.get())))
        await peer.send(chunk(ENDING) + LAST_CHUNK)


class Counted:
    """A gateway that counts its calls, and one caller on one connection."""

    def __init__(self, process: Subject, counts: Path, turns: Turns) -> None:
        self._process = process
        self._counts = counts
        self._turns = turns

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._process.port
        )

    async def plain(self, requests: int) -> Counter[str]:
        """The calls that so many whole replies cost."""
        before = await self._calls()
        for _ in range(requests):
            self._ask("openai", heads.chat())
            await self._reader.readuntil(REPLY[-20:])
        return await self._calls() - before

    async def stream(self, chunks: int) -> Counter[str]:
        """The calls that one stream costs."""
        before = await self._calls()
        self._ask("openai-async", heads.stream(chunks, 0))
        for number in range(chunks):
            self._turns.want(number)
            await self._reader.readuntil(b"<%d>" % number)
        await self._reader.readuntil(LAST_CHUNK)
        return await self._calls() - before

    async def _calls(self) -> Counter[str]:
        """What has been called since the start."""
        self._counts.unlink(missing_ok=True)
        os.kill(self._process.pid, signal.SIGUSR1)
        await until(self._counts.exists, "the gateway wrote its counts")
        found = json.loads(self._counts.read_text())
        return Counter(found["python"]) + Counter(found["c"])

    def _ask(self, head: str, body: bytes) -> None:
        host = f"127.0.0.1:{self._process.port}"
        self._writer.write(heads.head(head, host, body) + body)


@pytest.fixture
async def counted(tmp_path: Path) -> AsyncIterator[Counted]:
    turns, counts = Turns(), tmp_path / "counts.json"
    async with Faulty(turns.answer, models=["mock"]) as upstream:
        process = gateway(upstream.url, tmp_path, counts)
        await asyncio.to_thread(process.start)
        try:
            caller = Counted(process, counts, turns)
            await caller.connect()
            # What happens only once is not what a request costs.
            await caller.plain(5)
            await caller.stream(5)
            yield caller
        finally:
            await asyncio.to_thread(process.stop)


def gateway(upstream: str, folder: Path, counts: Path) -> Subject:
    config, port = folder / "config.yaml", free_port()
    config.write_text(gateway_config(upstream))
    command = (sys.executable, "-m", "tests.bench.counted", str(counts))
    flags = ("--config", str(config), "--port", str(port))
    return Subject("ours", port, (*command, *flags), folder=folder, env=our_env(folder))


async def test_a_request_stays_within_its_budget(counted: Counted) -> None:
    calls = await counted.plain(REQUESTS)
    assert calls.total() / REQUESTS <= CALLS_PER_REQUEST, top(calls, REQUESTS)


async def test_a_chunk_stays_within_its_budget(counted: Counted) -> None:
    short = await counted.stream(20)
    calls = await counted.stream(20 + CHUNKS) - short
    assert calls.total() / CHUNKS <= CALLS_PER_CHUNK, top(calls, CHUNKS)


def top(calls: Counter[str], units: int) -> str:
    """What costs most, per unit; to see what came in."""
    lines = [f"{n / units:6.2f}  {name}" for name, n in calls.most_common(40)]
    return "\n".join((f"{calls.total() / units:.2f} calls each", *lines))
