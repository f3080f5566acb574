"""A provider dies in the middle of its replies, and nobody notices."""

from __future__ import annotations

import asyncio

import pytest

from tests.parts.faulty import Faulty, Peer
from tests.parts.http_text import Message, post, whole
from tests.parts.inside import CHAT, COMPLETION, OpenSite
from tests.parts.scripts import BODY
from tests.parts.until import until

REQUESTS = 50
GOOD = whole(COMPLETION)
HALF = len(GOOD) - len(COMPLETION) // 2


class Halves:
    """Sends the first half of a whole reply, and the rest when it is told."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, peer: Peer, request: Message) -> None:
        await peer.send(GOOD[:HALF])
        await peer.wait(self.go)
        await peer.send(GOOD[HALF:])


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("limit", [None, 40])
async def test_one_of_two_dies_under_50_half_received_replies(
    open_site: OpenSite, fast: bool, limit: int | None
) -> None:
    rest = Halves()
    async with Faulty(rest) as twin:
        slots = {} if limit is None else {"maxConcurrent": limit}
        site = await open_site(
            rest,
            fast=fast,
            provider=slots,
            others=[{"id": "twin", "kind": "vllm", "endpoint": twin.url, **slots}],
            models=[{"id": "tiny", "providers": [{"id": "box"}, {"id": "twin"}]}],
            routing={},
        )
        replies = [
            asyncio.ensure_future(site.ask(post(CHAT, BODY))) for _ in range(REQUESTS)
        ]
        dying, living = site.upstream, twin
        await until(
            lambda: len(dying.busy_peers) + len(living.busy_peers) == REQUESTS,
            "all of them half received",
        )
        assert len(dying.busy_peers) >= REQUESTS // 3, "both have work"
        dying.die()
        await until(lambda: dying.open_peers == [], "its end")
        rest.go.set()
        answered = await asyncio.gather(*replies)
        assert {(each.status, each.body) for each in answered} == {(200, COMPLETION)}
        assert {each.header("x-proxy-provider") for each in answered} == {"twin"}
        attempts = sorted(
            int(each.header("x-proxy-attempts") or 0) for each in answered
        )
        assert attempts[-1] == 2
        assert [p.active for p in site.runtime.registry.providers] == [0, 0]
        assert site.runtime.active == 0
