"""The server stopped, stalled, emptied, started anew: nobody waits, all is made good."""

from __future__ import annotations

import asyncio
import logging

import pytest

from proxy.state.base import Charge, Rate
from proxy.state.valkey.link import News
from proxy.state.valkey.post import MOST_AT_ONCE, Post, Send
from proxy.state.valkey.scripts import LEAVE
from proxy.state.valkey.standing import Standing
from tests.parts.until import until
from tests.parts.valkey import Valkey
from tests.proxy.state.valkey.asking import Asker
from tests.proxy.state.valkey.conftest import Join

BEAT_S = 0.2
CHARGE = (Charge("key:a", Rate(60, 60.0), 1.0),)


async def test_without_a_server_it_opens_and_goes_on_alone(
    join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    state = await join("valkey://127.0.0.1:1", processes=2, beat_s=BEAT_S)
    assert state.is_away
    assert [state.slots.try_take((("gpu", 5),)) for _ in range(3)] == [
        True,
        True,
        False,
    ]
    assert (await state.rates.reserve(CHARGE)).granted
    assert state.alone == {"slots": 2, "rates": 1, "budgets": 0}
    told = [r for r in caplog.records if r.name == "local_ai.state"]
    assert [r.levelno for r in told] == [logging.WARNING], "said once"


async def test_a_server_that_is_back_knows_what_is_held(
    join: Join, server: Valkey
) -> None:
    one, other = (
        await join(server.url, beat_s=BEAT_S),
        await join(server.url, beat_s=BEAT_S),
    )
    await until(lambda: one._standing.processes == 2, "they know of each other")
    asker, other_asker = Asker(one), Asker(other)
    for _ in range(3):
        await asker.wait(("gpu", 4))
    server.stop()
    await until(lambda: one.is_away and other.is_away, "the loss is noticed")
    assert not await asker.ask(("gpu", 4)), "it holds more than its share"
    assert [await other_asker.ask(("gpu", 4)) for _ in range(3)] == [True, True, False]
    for _ in range(2):
        other.slots.give_back((("gpu", 4),))
    server.start()
    await until(lambda: not (one.is_away or other.is_away), "both have found it")
    await until(lambda: not one._standing.is_settling, "all have")
    await until(lambda: not other._standing.is_settling, "all have")
    await other_asker.wait(("gpu", 4))
    assert not await other_asker.ask(("gpu", 4)), "three and one is four"
    one.slots.give_back((("gpu", 4),))
    await other_asker.wait(("gpu", 4))


async def test_a_server_that_is_back_grants_shares_until_all_are(
    join: Join, server: Valkey
) -> None:
    one = await join(server.url, beat_s=BEAT_S, processes=2)
    await until(lambda: not one._standing.is_settling, "it is settled")
    server.stop()
    await until(lambda: one.is_away, "the loss is noticed")
    server.start()
    await until(lambda: not one.is_away, "it is back")
    asker = Asker(one)
    one._standing.processes = 2
    assert [await asker.ask(("gpu", 4)) for _ in range(3)] == [True, True, False]


async def test_whoever_waits_when_it_stalls_is_answered(
    join: Join, server: Valkey
) -> None:
    state = await join(server.url, beat_s=BEAT_S)
    server.pause()
    try:
        asking = asyncio.create_task(Asker(state).ask(("gpu", 1)))
        async with asyncio.timeout(5):
            assert (await state.rates.reserve(CHARGE)).granted
            assert await asking
        assert state.is_away
        assert state.alone == {"slots": 1, "rates": 1, "budgets": 0}
    finally:
        server.go_on()
    await until(lambda: not state.is_away, "it is back")
    assert not await Asker(state).ask(("gpu", 1)), "what was granted alone counts"


async def test_a_server_that_was_emptied_is_told_again(
    join: Join, server: Valkey
) -> None:
    one, other = (
        await join(server.url, beat_s=BEAT_S),
        await join(server.url, beat_s=BEAT_S),
    )
    assert await Asker(one).ask(("gpu", 1))
    server.empty()
    await until(lambda: one._standing.losses or other._standing.losses, "noticed")
    await until(lambda: not (one.is_away or other.is_away), "both have found it")
    await until(lambda: not other._standing.is_settling, "settled")
    assert not await Asker(other).ask(("gpu", 1))


async def test_it_ends_in_time_whatever_the_server_does(
    join: Join, server: Valkey
) -> None:
    state = await join(server.url, beat_s=BEAT_S)
    server.pause()
    try:
        async with asyncio.timeout(5):
            await state.__aexit__(None, None, None)
    finally:
        server.go_on()
    assert state.slots.try_take((("gpu", 1),)) is True, "nobody waits for ever"


class Talker:
    """A part that has so much to say at each exchange, for so many exchanges."""

    def __init__(self, commands: int, exchanges: int) -> None:
        self.commands, self.exchanges = commands, exchanges
        self.spoke = 0

    def beat(self, send: Send) -> None:
        pass

    def speak(self, send: Send) -> None:
        if self.spoke == self.exchanges:
            return
        self.spoke += 1
        for _ in range(self.commands):
            send(("PUBLISH", (), ("said",)), lambda _: None)

    def answered(self) -> None:
        pass

    def hear(self, news: News) -> None:
        pass

    def lose(self) -> None:
        pass


async def test_who_finds_no_room_in_an_exchange_need_not_ring_again(
    shared: Valkey,
) -> None:
    loud = [Talker(MOST_AT_ONCE, 1), Talker(MOST_AT_ONCE, 1)]
    quiet = Talker(1, 1)
    post = Post(shared.new_database(), Standing(1, 0.0), beat_s=3600.0)
    post.serve((*loud, quiet), (LEAVE, (), ("p",)))
    async with post:
        await until(lambda: quiet.spoke, "it is let speak", timeout_s=5)


async def test_a_part_that_always_fills_the_exchange_leaves_room_for_others(
    shared: Valkey,
) -> None:
    class Endless(Talker):
        def speak(self, send: Send) -> None:
            super().speak(send)
            post.ring()

    loud, quiet = Endless(MOST_AT_ONCE, 1_000_000), Talker(1, 1)
    post = Post(shared.new_database(), Standing(1, 0.0), beat_s=3600.0)
    post.serve((loud, quiet), (LEAVE, (), ("p",)))
    async with post:
        await until(lambda: quiet.spoke, "it is let speak", timeout_s=5)
