"""The whole gateway inside the test's own loop, on a real socket, and one upstream.

    async def test_…(site: Site) -> None:
        site.upstream.script = answers(whole(b"{}"))
        reply = await site.ask(post("/v1/chat/completions", body))

`site` is a gateway with the provider `box` (kind vllm, an upstream of raw TCP) that
serves the model `tiny`; `open_site` makes one with other settings. Records are kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from proxy.app import doors, drain, open_port, port_of
from proxy.auth.local_token import LocalToken
from proxy.config import Loaded, Options, load
from proxy.core import clock
from proxy.core.types import Record
from proxy.front import Front
from proxy.observability.logs import RequestLog
from proxy.pipeline.desk import Desk
from proxy.runtime import Runtime, describe
from tests.parts.caller import Caller
from tests.parts.faulty import Faulty, Peer, Script
from tests.parts.http_text import Message, whole
from tests.parts.scripts import answers
from tests.parts.until import until

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
TOKEN = "the-token-of-this-machine-and-of-no-other"
COMPLETION = b'{"object":"chat.completion","choices":[{"index":0}]}'


def settings(endpoint: str, **sections: Any) -> dict[str, Any]:
    """A configuration with the provider `box`; `provider` adds to it.

    Nothing is asked twice and nobody waits, unless `routing` says so.
    """
    box = {"id": "box", "kind": "vllm", "endpoint": endpoint}
    return {
        "routing": {"retry": {"budgetRatio": 0}, "queue": {"maxWaitSeconds": 0}},
        "discovery": {"enabled": False},
        "providers": [box | sections.pop("provider", {}), *sections.pop("others", ())],
        "models": sections.pop("models", [{"id": "tiny", "providerId": "box"}]),
        **sections,
    }


def read_settings(content: dict[str, Any]) -> Loaded:
    with tempfile.TemporaryDirectory() as folder:
        return read_from(Path(folder) / "config.yaml", content)


def read_from(file: Path, content: dict[str, Any]) -> Loaded:
    file.write_text(json.dumps(content))
    there = os.environ.get("PROXY_DATA_DIR")
    known = {} if there is None else {"PROXY_DATA_DIR": there}
    return load(Options(config=str(file)), known, places=())


class KeptLog(RequestLog):
    """A request log that also keeps each record."""

    def __init__(self, file: Path, descriptor: int) -> None:
        super().__init__("text", descriptor)
        self.file = file
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)
        super().write(record)


@contextmanager
def kept_log() -> Iterator[KeptLog]:
    with tempfile.NamedTemporaryFile() as lines:
        yield KeptLog(Path(lines.name), lines.fileno())


@dataclass
class Site:
    """A gateway and its upstream. `log` is the file of request lines, `content` what
    the configuration file held at first.
    """

    url: str
    runtime: Runtime
    front: Front
    runner: web.ServerRunner
    listening: list[asyncio.Server]
    upstream: Faulty
    records: list[Record]
    log: Path
    content: dict[str, Any]
    _callers: list[Caller] = field(default_factory=list)
    _ahead_s: float = 0.0

    async def ask(self, request: bytes) -> Message:
        """Send one request on a connection of its own and read the reply."""
        caller = await self.caller()
        caller.send(request)
        return await caller.reply()

    async def caller(self) -> Caller:
        caller = await Caller.at(self.url)
        self._callers.append(caller)
        return caller

    async def record(self) -> Record:
        """Wait for a request to be recorded; answers the newest record."""
        await until(lambda: self.records, "a record")
        return self.records[-1]

    async def busy_peer(self) -> Peer:
        """Wait until the upstream has a request in hand; answers its connection."""
        await until(lambda: self.upstream.busy_peers, "a request at the upstream")
        return self.upstream.busy_peers[0]

    async def settle(self) -> None:
        """Let what was sent arrive: two round trips through the same loop."""
        for _ in range(2):
            await self.ask(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")

    def later(self, seconds: float) -> None:
        """Let everything with a deadline believe that so much time has passed since
        what it has seen last."""
        for ahead_s in (0.0, seconds):
            self._ahead_s += ahead_s
            for member in tuple(self.runtime.ticker._members):
                member.tick(clock.monotonic() + self._ahead_s)

    def rewrite(self, content: dict[str, Any] | str) -> None:
        """Change the configuration file."""
        file = self.runtime.loaded.file
        assert file is not None
        text = content if isinstance(content, str) else json.dumps(content)
        file.write_text(text)

    async def drain(self) -> None:
        """Do what SIGTERM does."""
        await drain(self.runtime, self.front, self.runner, self.listening)

    def leave(self) -> None:
        for caller in self._callers:
            caller.leave()


OpenSite = Callable[..., Awaitable[Site]]


@asynccontextmanager
async def run_site(
    script: Script | None = None,
    *,
    fast: bool = True,
    records: bool = False,
    **sections: Any,
) -> AsyncIterator[Site]:
    """Serve while the block runs. `sections` are those of the configuration; with
    `records` they are kept in a database. The fast door is open unless told, as it is
    for people: behind it a call begins without a task.
    """
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(
            Faulty(script or answers(whole(COMPLETION)))
        )
        server = {"port": 0, "fastPath": fast, **sections.pop("server", {})}
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        if records:  # by the environment, as a reload reads it again
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setenv("PROXY_DATA_DIR", str(Path(folder) / "data"))
        content = settings(upstream.url, server=server, **sections)
        loaded = read_from(Path(folder) / "config.yaml", content)
        runtime = await stack.enter_async_context(Runtime(loaded, records=records))
        kept = stack.enter_context(kept_log())
        ledger = None if runtime.records is None else runtime.records.ledger
        soon = asyncio.get_running_loop().call_soon
        desk = Desk(kept, runtime.metrics, ledger, runtime.tail, soon=soon)
        runtime.pipeline._desk = runtime.pipeline.express.desk = desk
        runtime._now = replace(runtime._now, log=kept)  # for reloads
        front, runner = doors(runtime, LocalToken(Path("local-token"), TOKEN))
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        listening = await open_port(runner, loaded.config)
        stack.callback(lambda: [one.close() for one in listening])
        address = describe(loaded.config, port_of(listening))
        site = Site(
            address, runtime, front, runner, listening, upstream, kept.records,
            kept.file, content,
        )  # fmt: skip
        stack.callback(site.leave)
        yield site


@pytest.fixture(params=["fast door", "ordinary door"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A gateway with default settings, behind either door."""
    async with run_site(fast=request.param == "fast door") as opened:
        yield opened


@pytest.fixture
async def open_site() -> AsyncIterator[OpenSite]:
    """Open gateways that are closed when the test ends."""
    async with AsyncExitStack() as stack:

        async def open_(script: Script | None = None, **options: Any) -> Site:
            return await stack.enter_async_context(run_site(script, **options))

        yield open_
