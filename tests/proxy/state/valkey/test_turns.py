from __future__ import annotations

from proxy.state.base import Turn
from tests.parts.until import until
from tests.parts.valkey import Valkey
from tests.proxy.state.valkey.conftest import Join

MINE, ANOTHERS = Turn(is_mine=True), Turn(is_mine=False)
LONG_S = 60.0


async def test_one_looks_and_the_others_are_told(join: Join) -> None:
    one, other = (await join()).turns, (await join()).turns
    assert await one.ask("gpu", LONG_S, LONG_S) == MINE
    assert await other.ask("gpu", LONG_S, LONG_S) == ANOTHERS
    assert await other.ask("cloud", LONG_S, LONG_S) == MINE
    await one.end("gpu", b"\x00well", LONG_S)
    for turns in (one, other):
        told = await turns.ask("gpu", LONG_S, LONG_S)
        assert told == Turn(is_mine=False, found=b"\x00well")
    assert await other.ask("gpu", 0.0, LONG_S) == MINE, "too old"
    assert await one.ask("gpu", 0.0, LONG_S) == ANOTHERS


async def test_who_saw_nothing_leaves_the_look_to_another(join: Join) -> None:
    one, other = (await join()).turns, (await join()).turns
    await one.ask("gpu", LONG_S, LONG_S)
    await one.end("gpu", b"", LONG_S)
    assert await other.ask("gpu", LONG_S, LONG_S) == MINE
    await one.end("gpu", b"", LONG_S)
    assert await one.ask("gpu", LONG_S, LONG_S) == ANOTHERS, "it was not its own"


async def test_a_look_that_never_ends_is_given_up(join: Join) -> None:
    one, other = (await join()).turns, (await join()).turns
    await one.ask("gpu", LONG_S, 0.001)
    for _ in range(1000):
        if (await other.ask("gpu", LONG_S, LONG_S)).is_mine:
            return
    raise AssertionError("the lease has no end")


async def test_without_the_server_everybody_looks(join: Join, server: Valkey) -> None:
    one = await join(server.url, beat_s=0.2)
    other = await join(server.url, beat_s=0.2)
    await one.turns.ask("gpu", LONG_S, LONG_S)
    server.pause()
    assert await other.turns.ask("gpu", LONG_S, LONG_S) == MINE
    await until(lambda: other.is_away, "the loss is noticed")
    assert await other.turns.ask("gpu", LONG_S, LONG_S) == MINE
    await other.turns.end("gpu", b"well", LONG_S)
    server.go_on()
    await until(lambda: not other.is_away, "it is back")
    assert await other.turns.ask("gpu", LONG_S, LONG_S) == ANOTHERS
