from __future__ import annotations

import msgspec
import pytest

from providers.wire.usage import Usage
from proxy.cache.key import Asked
from proxy.cache.responses import (
    MemoryReplies,
    ResponseCache,
    Stored,
)
from tests.fakes.fetch import Clock
from tests.proxy.cache import replies


def stored(size: int) -> Stored:
    return Stored("chat", False, b"x" * size)


def key(number: int) -> bytes:
    return b"%032d" % number


async def test_a_reply_is_kept_for_its_time(clock: Clock) -> None:
    kept = MemoryReplies(10_000, 60.0, clock)
    await kept.put(key(1), stored(10))
    clock.at += 59.9
    assert await kept.get(key(1)) == stored(10)
    clock.at += 0.1
    assert await kept.get(key(1)) is None
    assert (len(kept), kept.size_bytes) == (0, 0)


async def test_the_longest_unused_go_when_room_is_needed(clock: Clock) -> None:
    kept = MemoryReplies(4 * 1512, 60.0, clock)
    for number in range(4):
        await kept.put(key(number), stored(1000))
    await kept.get(key(0))
    await kept.put(key(4), stored(1000))
    assert [n for n in range(5) if await kept.get(key(n))] == [0, 2, 3, 4]
    await kept.put(key(5), stored(4 * 1000))
    assert [n for n in range(6) if await kept.get(key(n))] == [4, 5]


async def test_what_is_larger_than_all_the_room_takes_none(clock: Clock) -> None:
    kept = MemoryReplies(2000, 60.0, clock)
    await kept.put(key(1), stored(100))
    await kept.put(key(2), stored(2000))
    assert await kept.get(key(1))
    assert await kept.get(key(2)) is None


async def test_a_newer_reply_takes_the_place_of_an_older(clock: Clock) -> None:
    kept = MemoryReplies(10_000, 60.0, clock)
    for size in (500, 900, 10):
        await kept.put(key(1), stored(size))
    assert await kept.get(key(1)) == stored(10)
    assert (len(kept), kept.size_bytes) == (1, 10 + 512)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> ResponseCache:
    return ResponseCache(MemoryReplies(100_000, 60.0, clock))


def asked(*, reads: bool = True, stores: bool = True) -> Asked:
    return Asked(key(1), "chat", False, False, False, reads, stores)


async def keep(cache: ResponseCache, asked: Asked, body: bytes) -> bool:
    return await cache.keep(
        asked, status=200, is_stream=False, body=body, usage=Usage(prompt=5)
    )


async def test_a_fit_reply_is_found_again_with_its_usage(cache: ResponseCache) -> None:
    assert await cache.find(asked()) is None
    assert await keep(cache, asked(), replies.chat())
    assert await cache.find(asked()) == Stored(
        "chat", False, replies.chat(), Usage(prompt=5)
    )


async def test_an_unfit_one_is_not(cache: ResponseCache) -> None:
    assert not await keep(cache, asked(), replies.chat("length"))
    assert await cache.find(asked()) is None


async def test_who_wants_it_fresh_gets_it_fresh_and_refreshes_it(
    cache: ResponseCache,
) -> None:
    await keep(cache, asked(), replies.chat())
    fresh = asked(reads=False)
    assert await cache.find(fresh) is None
    newer = replies.chat(content="newer")
    assert await keep(cache, fresh, newer)
    found = await cache.find(asked())
    assert found is not None
    assert found.body == newer


async def test_who_wants_nothing_kept_leaves_nothing(cache: ResponseCache) -> None:
    assert not await keep(cache, asked(reads=False, stores=False), replies.chat())
    assert await cache.find(asked()) is None


def test_a_stored_reply_can_be_sent_to_another_process() -> None:
    reply = Stored("chat", True, b"\xff\x00", Usage(prompt=5, cost_usd=0.5))
    packed = msgspec.msgpack.encode(reply)
    assert msgspec.msgpack.decode(packed, type=Stored) == reply
