"""Conversations stay where their prefix is cached, and replicas carry equal shares."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from tests.parts.faulty import Faulty, Peer
from tests.parts.http_text import Message, post, whole
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site

CONVERSATIONS, TURNS = 20, 8
LEAST_AT_HOME, LARGEST_SHARE = 0.9, 1.25
LISTED = [{"id": "tiny", "providers": [{"id": "box"}, {"id": "twin"}]}]
SYSTEM = {"role": "system", "content": "You are helpful."}


class Replica:
    """Simulates a prefix cache: it knows what it has served, message by message."""

    def __init__(self) -> None:
        self.turns = self.hits = 0
        self._cached: set[str] = set()

    async def __call__(self, peer: Peer, request: Message) -> None:
        messages = json.loads(request.body)["messages"]
        self.turns += 1
        # All but what is new in this turn: an answer, and the next question.
        self.hits += json.dumps(messages[:-2]) in self._cached
        self._cached.add(json.dumps(messages))
        await peer.send(whole(COMPLETION))


@pytest.mark.parametrize("models", [LISTED, []], ids=["listed", "found"])
@pytest.mark.parametrize("opening", ["one system prompt", "their own", "sessions"])
@pytest.mark.parametrize("at_once", [1, CONVERSATIONS])
async def test_conversations_find_their_prefix_again(
    open_site: OpenSite, models: list[Any], opening: str, at_once: int
) -> None:
    first, second = Replica(), Replica()
    async with Faulty(second) as twin:
        site = await open_site(
            first,
            fast=True,
            others=[{"id": "twin", "kind": "vllm", "endpoint": twin.url}],
            models=models,
            routing={},
        )
        for provider in site.runtime.registry.providers:
            await site.runtime.discovery.check(provider)
        await _talk(site, opening, at_once)
    turns = first.turns + second.turns
    assert turns == CONVERSATIONS * TURNS
    goes_on = CONVERSATIONS * (TURNS - 1)
    assert first.hits + second.hits >= LEAST_AT_HOME * goes_on
    assert max(first.turns, second.turns) <= LARGEST_SHARE * turns / 2


async def _talk(site: Site, opening: str, at_once: int) -> None:
    """Hold all conversations, their turns in a random order, so many at a time."""
    dice = random.Random(20)
    order = [number for number in range(CONVERSATIONS) for _ in range(TURNS)]
    dice.shuffle(order)
    talks: dict[int, list[dict[str, str]]] = {
        number: [SYSTEM] if opening == "one system prompt" else []
        for number in range(CONVERSATIONS)
    }
    locks = [asyncio.Lock() for _ in talks]
    gate = asyncio.Semaphore(at_once)

    async def turn(number: int) -> None:
        async with gate, locks[number]:
            said = talks[number]
            said.append({"role": "user", "content": f"{number}: question {len(said)}"})
            body: dict[str, Any] = {"model": "tiny", "messages": said}
            if opening == "sessions":
                body["session_id"] = f"session-{number}"
            reply = await site.ask(post(CHAT, json.dumps(body).encode()))
            assert reply.status == 200
            said.append({"role": "assistant", "content": f"answer {len(said)}"})

    await asyncio.gather(*map(turn, order))
