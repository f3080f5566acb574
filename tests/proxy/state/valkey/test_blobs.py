from __future__ import annotations

from proxy.state.valkey.blobs import ValkeyBlobs
from proxy.state.valkey.state import ValkeyState
from tests.parts.until import until
from tests.parts.valkey import Valkey
from tests.proxy.state.valkey.conftest import Join

HOUR_S = 3600.0
MOST = 10_000


async def written(state: ValkeyState) -> ValkeyBlobs:
    await until(lambda: not state.blobs._waiting, "it is written")
    return state.blobs


async def test_what_one_puts_another_gets(join: Join) -> None:
    one, other = await join(), await join()
    one.blobs.put("a", b"\x00data", HOUR_S, MOST)
    assert await one.blobs.get("a") == b"\x00data", "at once, here"
    assert (await written(one)).kept == (1, 5 + 1 + 200)
    assert await other.blobs.get("a") == b"\x00data"
    assert await other.blobs.get("b") is None


async def test_what_ends_first_makes_room(join: Join) -> None:
    state = await join()
    for n in range(12):
        state.blobs.put(f"{n:02}", bytes(798), HOUR_S + n, MOST)
        await written(state)
    assert state.blobs.kept == (10, 10_000)
    found = [n for n in range(12) if await state.blobs.get(f"{n:02}") is not None]
    assert found == list(range(2, 12))
    state.blobs.put("05", b"", HOUR_S, MOST)
    assert (await written(state)).kept == (10, 9202), "it takes its own place"


async def test_what_is_over_is_gone(join: Join) -> None:
    state = await join()
    state.blobs.put("a", b"a", 0.001, MOST)
    await written(state)
    state.blobs.put("b", b"b", HOUR_S, MOST)
    await until(lambda: not state.blobs._waiting, "it is written")
    assert await state.blobs.get("a") is None


async def test_more_than_there_may_be_is_not_even_held(join: Join) -> None:
    state = await join()
    state.blobs.put("a", bytes(MOST), HOUR_S, MOST)
    state.blobs.put("b", b"b", HOUR_S, MOST)
    assert list(state.blobs._waiting) == ["a"]
    await written(state)


async def test_away_there_is_nothing_and_nobody_waits(
    join: Join, server: Valkey
) -> None:
    state = await join(server.url, beat_s=0.2)
    state.blobs.put("a", b"a", HOUR_S, MOST)
    await written(state)
    server.pause()
    assert await state.blobs.get("a") is None
    await until(lambda: state.is_away, "the loss is noticed")
    state.blobs.put("b", b"b", HOUR_S, MOST)
    assert not state.blobs._waiting
    server.go_on()
    await until(lambda: not state.is_away, "it is back")
    assert await state.blobs.get("a") == b"a"
