"""Limits on the wire: 429 when it was said, and nothing kept of who has gone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator

import pytest

from proxy.state.memory_slots import MemorySlots
from tests.fakes.hand_clock import HandClock
from tests.parts.http_text import Message, head, post, whole
from tests.parts.inside import CHAT, OpenSite, Site, run_site
from tests.parts.keys import bearer, guarded_site, issue
from tests.parts.scripts import (
    BODY,
    DONE,
    EVENT,
    STREAM,
    USAGE,
    answers,
    error_of,
    stream,
    then_close,
    then_wait,
)
from tests.parts.until import until
from tests.parts.valkey import Valkey, valkey

ANSWER = (
    b'{"object":"chat.completion","choices":[{"index":0}],'
    b'"usage":{"prompt_tokens":30,"completion_tokens":20}}'
)
OpenLimited = Callable[..., Awaitable[tuple[Site, HandClock]]]


@pytest.fixture(params=[True, False], ids=["fast door", "ordinary door"])
def fast(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def open_limited(fast: bool, open_site: OpenSite) -> OpenLimited:
    """Open a gateway with limits of everybody, and a clock that stands still."""

    async def open_(*replies: bytes, **default: object) -> tuple[Site, HandClock]:
        limits = {"default": default}
        script = answers(*(replies or (whole(ANSWER),)))
        site = await open_site(script, fast=fast, rateLimits=limits)
        clock = HandClock()
        site.runtime.state.rates._now = clock
        return site, clock

    return open_


def fields(reply: Message) -> dict[str, str]:
    """The x-ratelimit-* fields, by the ends of their names."""
    found = ((name, value) for name, value in reply.headers if "ratelimit" in name)
    return {name.removeprefix("x-ratelimit-"): value for name, value in found}


def slots(site: Site) -> MemorySlots:
    held = site.runtime.state.slots
    assert isinstance(held, MemorySlots)
    return held


async def test_so_many_requests_and_then_429_until_it_was_said(
    open_limited: OpenLimited,
) -> None:
    site, clock = await open_limited(requests="3/minute")
    caller = await site.caller()
    for left in (2, 1, 0):
        caller.send(post(CHAT, BODY))
        reply = await caller.reply()
        assert reply.status == 200
        assert fields(reply) == {
            "limit-requests": "3",
            "remaining-requests": str(left),
            "reset-requests": ["1m0s", "40s", "20s"][left],
        }
    caller.send(post(CHAT, BODY))
    reply = await caller.reply()
    assert (reply.status, error_of(reply)["code"]) == (429, "rate_limit_exceeded")
    assert reply.header("retry-after") == "20"
    assert fields(reply)["remaining-requests"] == "0"
    clock.now += 19.9
    assert (await site.ask(post(CHAT, BODY))).header("retry-after") == "1"
    clock.now += 0.1
    assert (await site.ask(post(CHAT, BODY))).status == 200
    assert (await site.ask(post(CHAT, BODY))).status == 429
    assert [record.status for record in site.records].count(429) == 3
    assert {record.model for record in site.records} == {"tiny"}


async def test_a_limit_is_exact_under_a_crowd(open_limited: OpenLimited) -> None:
    site, _ = await open_limited(requests="20/minute")
    replies = await asyncio.gather(
        *(site.ask(post(CHAT, STREAM if n % 2 else BODY)) for n in range(60))
    )
    assert sorted({reply.status for reply in replies}) == [200, 429]
    assert sum(reply.status == 200 for reply in replies) == 20


async def test_tokens_are_settled_by_what_a_stream_has_used(
    open_limited: OpenLimited,
) -> None:
    site, _ = await open_limited(
        stream(EVENT, USAGE, DONE), whole(ANSWER), tokens="10000/hour"
    )
    first = await site.ask(post(CHAT, STREAM))
    assert first.status == 200
    second = await site.ask(post(CHAT, BODY))
    # 8 were used of those reserved for the first; of the second a prompt of 30 bytes
    # and 1024 unsaid are set aside.
    assert fields(second)["remaining-tokens"] == str(10_000 - 8 - (8 + 1024))
    third = await site.ask(post(CHAT, BODY))
    assert fields(third)["remaining-tokens"] == str(10_000 - 8 - 50 - (8 + 1024))


async def test_more_tokens_than_are_left_wait_for_exactly_those(
    open_limited: OpenLimited,
) -> None:
    site, clock = await open_limited(tokens="1200/minute")
    body = BODY.replace(b"[]", b"[],%b" % b'"max_tokens":1191')
    first = await site.ask(post(CHAT, body))
    assert first.status == 200
    reply = await site.ask(post(CHAT, body))
    assert (reply.status, error_of(reply)["code"]) == (429, "token_limit_exceeded")
    wait_s = int(reply.header("retry-after") or 0)
    assert wait_s == 3  # 50 tokens are missing, at 20 a second
    clock.now += wait_s
    assert (await site.ask(post(CHAT, body))).status == 200


async def test_what_failed_gives_its_tokens_back(open_limited: OpenLimited) -> None:
    site, _ = await open_limited(
        whole(b"{}", status=500), whole(ANSWER), tokens="10000/hour"
    )
    assert (await site.ask(post(CHAT, BODY))).status == 502
    reply = await site.ask(post(CHAT, BODY))
    assert fields(reply)["remaining-tokens"] == str(10_000 - 1032)


async def test_who_leaves_gives_back_what_nobody_has_written(
    fast: bool, open_site: OpenSite
) -> None:
    site = await open_site(
        then_wait(head(200)), fast=fast, rateLimits={"default": {"tokens": "9000/hour"}}
    )
    site.runtime.state.rates._now = HandClock()
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    await site.busy_peer()
    caller.leave()
    assert (await site.record()).status == 499
    site.upstream.script = answers(whole(ANSWER))
    reply = await site.ask(post(CHAT, BODY))
    prompt = (len(STREAM) + 3) // 4
    assert fields(reply)["remaining-tokens"] == str(9000 - prompt - 1032)


async def test_no_more_than_so_many_at_the_same_time(
    fast: bool, open_site: OpenSite
) -> None:
    site = await open_site(
        then_wait(b""), fast=fast, rateLimits={"default": {"concurrent": 2}}
    )
    callers = [await site.caller() for _ in range(2)]
    for caller in callers:
        caller.send(post(CHAT, BODY))
    await until(lambda: len(site.upstream.busy_peers) == 2, "two at the upstream")
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, error_of(reply)["code"]) == (429, "rate_limit_exceeded")
    assert reply.header("retry-after") == "1"
    callers[0].leave()
    await site.record()
    await until(lambda: len(site.records) == 2, "the one that left")
    site.upstream.script = answers(whole(ANSWER))
    assert (await site.ask(post(CHAT, BODY))).status == 200


async def test_no_place_is_lost_whenever_callers_leave(
    fast: bool, open_site: OpenSite
) -> None:
    limits = {"default": {"concurrent": 400, "requests": "100000/second"}}
    site = await open_site(then_wait(head(200)), fast=fast, rateLimits=limits)
    dice = random.Random(7)
    scripts = [
        then_wait(b""), then_wait(head(200, "content-length: 9") + b"{"),
        then_wait(stream(EVENT, end=b"")), then_close(b""), answers(whole(ANSWER)),
    ]  # fmt: skip
    for count in range(200):
        site.upstream.script = dice.choice(scripts)
        caller = await site.caller()
        caller.send(post(CHAT, dice.choice([BODY, STREAM]))[: dice.choice([9, 9999])])
        for _ in range(dice.randrange(4)):
            await asyncio.sleep(0)
        if count % 20 == 0:
            await site.settle()
        caller.leave()
    await until(lambda: not site.runtime.active, "the end of all")
    await until(lambda: len(slots(site)) == 0, "no place held")


async def test_a_key_has_limits_of_its_own(fast: bool) -> None:
    async with guarded_site(answers(whole(ANSWER)), fast=fast) as site:
        first = await issue(site, "first", requests_rate="2/minute")
        other = await issue(site, "other")
        statuses = [
            (await site.ask(post(CHAT, BODY, bearer(first.secret)))).status
            for _ in range(4)
        ]
        assert statuses == [200, 200, 429, 429]
        reply = await site.ask(post(CHAT, BODY, bearer(other.secret)))
        assert (reply.status, fields(reply)) == (200, {})


async def test_limits_follow_a_reload(fast: bool) -> None:
    async with run_site(answers(whole(ANSWER)), fast=fast) as site:
        caller = await site.caller()
        for _ in range(3):
            caller.send(post(CHAT, BODY))
            assert (await caller.reply()).status == 200
        limits = {"default": {"requests": "1/minute"}}
        site.rewrite({**site.content, "rateLimits": limits})
        assert (await site.runtime.reload("test")).ok
        for status in (200, 429):
            caller.send(post(CHAT, BODY))
            assert (await caller.reply()).status == status
        site.rewrite(site.content)
        assert (await site.runtime.reload("test")).ok
        caller.send(post(CHAT, BODY))
        assert (await caller.reply()).status == 200


async def test_every_way_to_a_model_counts(open_site: OpenSite) -> None:
    limits = {"default": {"requests": "1/day"}}
    llm = b'{"model":"tiny","messages":[{"role":"user","content":"x"}]}'
    for path, body in (
        ("/v1/chat/completions", BODY),
        ("/v1/messages", BODY),
        ("/api/chat", BODY),
        ("/llm", llm),
        ("/v1/audio/speech", BODY),
    ):
        site = await open_site(answers(whole(ANSWER)), rateLimits=limits)
        await site.ask(post(path, body))
        assert (await site.ask(post(path, body))).status == 429, path
        assert (await site.ask(post(CHAT, BODY))).status == 429, path


# -- several processes ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


async def test_processes_that_share_a_state_share_limits(
    fast: bool, server: Valkey
) -> None:
    shared = {
        "state": {"url": server.new_database()},
        "rateLimits": {"default": {"requests": "10/day", "tokens": "1000000/day"}},
    }
    async with (
        run_site(answers(whole(ANSWER)), fast=fast, **shared) as first,
        run_site(answers(whole(ANSWER)), fast=fast, **shared) as second,
    ):
        replies = await asyncio.gather(
            *((first, second)[n % 2].ask(post(CHAT, BODY)) for n in range(30))
        )
        assert sorted(reply.status for reply in replies) == [200] * 10 + [429] * 20
        refused = next(reply for reply in replies if reply.status == 429)
        assert 8000 < int(refused.header("retry-after") or 0) <= 8640
        used = [r for s in (first, second) for r in s.records if r.status == 200]
        assert sum(record.completion_tokens or 0 for record in used) == 200


async def test_processes_that_share_a_state_share_places(server: Valkey) -> None:
    shared = {
        "state": {"url": server.new_database()},
        "rateLimits": {"default": {"concurrent": 3}},
    }
    async with (
        run_site(then_wait(b""), **shared) as first,
        run_site(then_wait(b""), **shared) as second,
    ):
        callers = [await site.caller() for site in (first, second) for _ in range(4)]
        for caller in callers:
            caller.send(post(CHAT, BODY))
        sites = (first, second)
        await until(lambda: sum(len(s.records) for s in sites) == 5, "those refused")
        assert sum(len(s.upstream.busy_peers) for s in sites) == 3
        for caller in callers:
            caller.leave()
        await until(lambda: sum(len(s.records) for s in sites) == 8, "all of them")
        for site in sites:
            site.upstream.script = answers(whole(ANSWER))
            assert (await site.ask(post(CHAT, BODY))).status == 200
