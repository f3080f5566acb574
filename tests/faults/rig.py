"""Plays one case to a gateway behind either door, and looks at what came of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from proxy.core.types import Record
from tests.faults.row import GOOD, GOOD_STREAM, Case, Way
from tests.parts.faulty import Faulty
from tests.parts.http_text import Message, post, responses
from tests.parts.inside import CHAT, Site, run_site
from tests.parts.raw import connect
from tests.parts.scripts import answers
from tests.parts.until import until

# What a provider is given in a case that lasts until a limit has passed; the others are
# given more than a busy machine needs.
LIMITS_S = {"connect": 0.5, "write": 0.5, "firstByte": 0.4, "idle": 0.4, "whole": 0.9}
AMPLE_S = dict.fromkeys(LIMITS_S, 10.0)
# No case may take longer than its limits allow, and this is more than all together.
DEADLINE_S = 20.0
SETTINGS: dict[str, Any] = {
    # Nobody waits for the end of a rate limit.
    "routing": {"retry": {"backoffSeconds": 0}, "queue": {"maxWaitSeconds": 1}},
    # What is asked after a fault is of a model that has not failed.
    "models": [{"id": id_, "providerId": "box"} for id_ in ("tiny", "other")],
}
# Another provider serves it too; it comes last.
SHARED = {"id": "shared", "providers": [{"id": "box"}, {"id": "spare"}]}
NEXT = post(CHAT, b'{"model":"other","messages":[]}')
GAUGES = (
    "local_ai_active_requests",
    "local_ai_provider_active_requests",
    'local_ai_upstream_connections{provider="box",state="busy"}',
)
DOOR = "local_ai_fast_path_total{"
BODILESS = (204, 304)


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a case. `extra` are bytes that came behind the reply, `next` is
    the reply to a good request afterwards, if the provider still listens. `asked` are the requests the provider got,
    `kept` tells whether the next came on the connection of the last.
    """

    reply: Message
    extra: bytes
    next: Message | None
    record: Record
    asked: list[Message]
    kept: bool


async def play(case: Case, way: Way, *, fast: bool, again: bool = False) -> Seen:
    """Ask a gateway of its own, whose provider does what the case says.

    `again`: the same has been asked before, and was answered well.
    """
    made = settings(case)
    async with asyncio.timeout(DEADLINE_S), run_site(fast=fast, **made) as site:
        if again:
            site.upstream.script = answers(GOOD if way is Way.WHOLE else GOOD_STREAM)
            before = await Line.to(site)
            reply = await before.ask(request(way, case.padding))
            assert reply.status == 200
            await until(lambda: is_idle(site), "the end of what was asked before")
        if case.first is not None:
            await case.first(site)
            await until(lambda: is_idle(site), "the end of what came first")
        upstream = site.upstream
        upstream.script, upstream.early = case.does, case.early
        recorded, asked = len(site.records), len(upstream.requests)
        line = await Line.to(site)
        reply = await line.ask(request(way, case.padding))
        await until(lambda: len(site.records) > recorded, "a record")
        carriers = upstream.carriers[asked:]
        # What it says behind its reply must be there before it is asked again.
        await until(
            lambda: all(peer.deaf for peer in upstream.busy_peers),
            "the end of the script",
        )
        upstream.script, upstream.early = answers(GOOD), False
        extra = line.extra
        following = await line.ask(NEXT) if upstream.listens else None
        await until(lambda: is_idle(site), "every gauge at zero")
        assert came_by_fast_door(site) is fast
        return Seen(
            reply,
            extra,
            following,
            site.records[recorded],
            upstream.requests[asked : asked + len(carriers)],
            bool(carriers) and upstream.carriers[-1] is carriers[-1],
        )


async def play_with_another(case: Case, way: Way) -> tuple[Message, list[Message]]:
    """As `play`, where another provider serves the model too.

    Answers the reply, and the requests that the other one got.
    """
    good = answers(GOOD if way is Way.WHOLE else GOOD_STREAM)
    async with asyncio.timeout(DEADLINE_S), Faulty(good) as spare:
        other = {"id": "spare", "kind": "vllm", "endpoint": spare.url, "priority": 99}
        sections = settings(case) | {"models": [SHARED, *SETTINGS["models"]]}
        async with run_site(fast=True, others=[other], **sections) as site:
            if case.first is not None:
                await case.first(site)
            site.upstream.script, site.upstream.early = case.does, case.early
            line = await Line.to(site)
            reply = await line.ask(request(way, case.padding, model="shared"))
            await until(lambda: is_idle(site), "every gauge at zero")
            return reply, spare.requests


def settings(case: Case) -> dict[str, Any]:
    limits = LIMITS_S if case.lasts else AMPLE_S
    return SETTINGS | {"provider": {"timeouts": limits}}


def request(way: Way, padding: int, model: str = "tiny") -> bytes:
    """Write the caller's request, with so many bytes more than it needs."""
    body: dict[str, object] = {"model": model, "messages": []}
    if way is Way.STREAM:
        body["stream"] = True
    if padding:
        body["user"] = "x" * padding
    return post(CHAT, json.dumps(body).encode())


def is_idle(site: Site) -> bool:
    """Tell whether nothing is under way any more."""
    gauges = [line for line in samples(site) if line.startswith(GAUGES)]
    assert len(gauges) >= len(GAUGES) - 1  # no connection was ever made: no gauge
    return all(line.endswith(" 0.0") for line in gauges)


def came_by_fast_door(site: Site) -> bool:
    return any(line.startswith(DOOR) and 'taken="true"' in line
               for line in samples(site))  # fmt: skip


def samples(site: Site) -> list[str]:
    return site.runtime.metrics.exposition()[0].decode().splitlines()


class Line:
    """The caller's connection, opened again where the gateway has closed it.

    `extra` is what came on it behind the last reply.
    """

    def __init__(
        self, site: Site, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._site = site
        self._reader, self._writer = reader, writer
        self._ended = False
        self.extra = b""

    @classmethod
    async def to(cls, site: Site) -> Line:
        return cls(site, *await connect(site.url))

    async def ask(self, data: bytes) -> Message:
        if self._ended:
            self._reader, self._writer = await connect(self._site.url)
            self._ended = False
        self._writer.write(data)
        received = bytearray()
        while not may_be_whole(received) and not self._ended:
            piece = await self._reader.read(1 << 18)
            received += piece
            self._ended = not piece
        [reply, *more] = responses(bytes(received))
        self.extra = b"".join(message.raw for message in more)
        if reply.header("connection") == "close":
            self._ended = True
        return reply


def may_be_whole(received: bytearray) -> bool:
    """Tell whether a reply is there, without reading all of it each time."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    [alone] = responses(bytes(received[: end + 4]))
    if alone.status in BODILESS:
        return True
    length = alone.header("content-length")
    if length is not None:
        return len(received) >= end + 4 + int(length)
    return received.endswith(b"\r\n\r\n") and responses(bytes(received))[0].complete
