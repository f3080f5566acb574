"""Requests of many kinds at once, through a gateway to two upstreams that count.

Each names itself in `x-request-id`, and in `user` what is to become of it. `Mixed` is
the upstreams' script; `Load` the callers', who note what they have seen.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.parts.caller import Caller
from tests.parts.faulty import Peer, PeerGoneError
from tests.parts.http_text import LAST_CHUNK, Message, chunk, event_stream_head, post
from tests.parts.http_text import whole as whole_reply
from tests.parts.inside import CHAT

KINDS = (
    "whole", "stream", "whole", "leave", "stream", "failover", "whole", "broken",
    "stream", "unknown",
)  # fmt: skip
EVENT = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
INPUT_USD, OUTPUT_USD = 1.0, 10.0
PACE_S = 0.005


def kind_of(number: int) -> str:
    return KINDS[number % len(KINDS)]


def usage_of(number: int) -> tuple[int, int]:
    """Tokens of prompt and answer, as both sides know them."""
    return 10 + number % 7, 2 + number % 5


def cost_of(prompt: int, completion: int) -> float:
    return (prompt * INPUT_USD + completion * OUTPUT_USD) / 1e6


def model(*providers: str) -> dict[str, Any]:
    pricing = {"inputPer1M": INPUT_USD, "outputPer1M": OUTPUT_USD}
    return {
        "id": "tiny",
        "providers": [{"id": name, "upstreamModel": "tiny"} for name in providers],
        "pricing": pricing,
    }


@dataclass
class Mixed:
    """What upstreams do, and how many events they sent of each stream."""

    events: Counter[int] = field(default_factory=Counter)
    asked: int = 0

    async def first(self, peer: Peer, request: Message) -> None:
        self.asked += 1
        kind, number = self._read(request)
        if kind == "failover":
            await peer.send(whole_reply(b'{"error":{"message":"busy"}}', status=503))
        else:
            await self._play(peer, kind, number)

    async def second(self, peer: Peer, request: Message) -> None:
        self.asked += 1
        await self._play(peer, *self._read(request))

    def _read(self, request: Message) -> tuple[str, int]:
        kind, _, number = json.loads(request.body)["user"].partition("-")
        return kind, int(number)

    async def _play(self, peer: Peer, kind: str, number: int) -> None:
        prompt, completion = usage_of(number)
        counts = b'"usage":{"prompt_tokens":%d,"completion_tokens":%d}' % (
            prompt,
            completion,
        )
        if kind in ("whole", "failover"):
            answer = b'{"object":"chat.completion","choices":[{"index":0}],%b}' % counts
            await peer.send(whole_reply(answer))
            return
        await peer.send(event_stream_head())
        if kind == "leave":
            while True:  # until the gateway has gone
                await self._event(peer, number)
                await asyncio.sleep(PACE_S)
        for _ in range(completion):
            await self._event(peer, number)
        if kind == "broken":
            peer.close()
            raise PeerGoneError
        last = b'data: {"id":"c","choices":[],%b}\n\ndata: [DONE]\n\n' % counts
        await peer.send(chunk(last) + LAST_CHUNK)

    async def _event(self, peer: Peer, number: int) -> None:
        self.events[number] += 1
        await peer.send(chunk(EVENT))


@dataclass
class Load:
    """Callers of one gateway. `finished` are statuses by number, of replies that ended."""

    url: str
    prefix: str = "c"
    kinds: tuple[str, ...] = KINDS
    finished: dict[int, int] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)

    async def run(self, numbers: range, callers: int = 32) -> None:
        """Make these requests; returns when all have ended. Raises what they do."""
        waiting = iter(numbers)
        await asyncio.gather(*(self._call(waiting) for _ in range(callers)))

    async def run_until(
        self, stop: asyncio.Event, callers: int = 32, pause_s: float = 0.0
    ) -> int:
        """Make requests until told to stop, or the gateway dies; answers how many began.

        Each caller rests for a moment after each.
        """
        began = 0

        def numbers() -> Any:
            nonlocal began
            while not stop.is_set():
                began += 1
                yield began - 1

        waiting = numbers()
        await asyncio.gather(
            *(self._call(waiting, pause_s) for _ in range(callers)),
            return_exceptions=True,
        )
        return began

    @property
    def names(self) -> set[str]:
        """The ids of all requests whose replies have ended."""
        return {self.name(number) for number in self.finished}

    def name(self, number: int) -> str:
        return f"{self.prefix}-{number}"

    async def _call(self, numbers: Any, pause_s: float = 0.0) -> None:
        caller = await Caller.at(self.url)
        try:
            for number in numbers:
                if not await self._one(caller, number):
                    caller.leave()
                    caller = await Caller.at(self.url)
                if pause_s:
                    await asyncio.sleep(pause_s)
        finally:
            caller.leave()

    async def _one(self, caller: Caller, number: int) -> bool:
        """Make one request; False where the connection cannot carry another."""
        kind = self.kinds[number % len(self.kinds)]
        is_stream = kind in ("stream", "leave", "broken")
        body: dict[str, Any] = {
            "model": "nobody" if kind == "unknown" else "tiny",
            "messages": [{"role": "user", "content": "hello"}],
            "user": f"{kind}-{number}",
        }
        if is_stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        caller.send(
            post(CHAT, json.dumps(body).encode(), f"x-request-id: {self.name(number)}")
        )
        if kind == "leave":
            await caller.until(b"delta")
            self.left.add(number)
            return False
        reply = await caller.reply()
        assert reply.complete, reply
        self.finished[number] = reply.status
        return reply.header("connection") != "close"
