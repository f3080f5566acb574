"""The response cache, on the wire: what is given again, to whom, and what never is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fakes.hand_clock import HandClock
from tests.parts.faulty import Peer
from tests.parts.http_text import Message, data_of, events, post, whole
from tests.parts.inside import CHAT, Site, run_site
from tests.parts.keys import bearer, guarded_site, issue
from tests.parts.scripts import (
    DONE,
    EVENT,
    USAGE,
    answers,
    error_of,
    stream,
    then_close,
)
from tests.parts.until import until
from tests.parts.valkey import valkey

ON = {"enabled": True}
ANSWER = (
    b'{"id":"c1","object":"chat.completion","created":1,"model":"tiny","choices":'
    b'[{"index":0,"message":{"role":"assistant","content":"hello"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5,'
    b'"total_tokens":8}}'
)
STOP = (
    b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
)
WORDS = '"messages":[{"role":"user","content":"x"}]'


def asking(more: str = "", model: str = "tiny", words: str = WORDS) -> bytes:
    return f'{{"model":"{model}",{words}{more}}}'.encode()


BODY, STREAM = asking(), asking(',"stream":true')


@pytest.fixture(params=[True, False], ids=["fast door", "ordinary door"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with run_site(answers(whole(ANSWER)), fast=request.param, cache=ON) as made:
        yield made


def cached(reply: Message) -> str | None:
    return reply.header("x-proxy-cache")


async def ask(
    site: Site, body: bytes = BODY, *fields: str, path: str = CHAT
) -> Message:
    return await site.ask(post(path, body, *fields))


async def test_a_repeat_is_answered_without_asking_anybody(site: Site) -> None:
    first, second = await ask(site), await ask(site)
    assert (first.status, cached(first)) == (200, "miss")
    assert (second.status, cached(second)) == (200, "hit")
    assert json.loads(second.body) == json.loads(first.body)
    assert len(site.upstream.requests) == 1
    assert [record.cache for record in site.records] == ["miss", "hit"]
    miss, hit = site.records
    assert (miss.completion_tokens, miss.provider) == (5, "box")
    assert (hit.completion_tokens, hit.provider, hit.attempts) == (None, None, [])
    assert (miss.model, hit.model) == ("tiny", "tiny")
    assert first.header("x-proxy-provider") == "box"
    assert first.header("x-request-id") != second.header("x-request-id")


async def test_vectors_are_given_again_to_who_asks_for_a_stream(site: Site) -> None:
    site.upstream.script = answers(whole(b'{"object":"list","data":[]}'))
    body = b'{"model":"tiny","input":"Hi","stream":true}'
    replies = [await site.ask(post("/v1/embeddings", body)) for _ in range(2)]
    assert [reply.header("x-proxy-cache") for reply in replies] == ["miss", "hit"]
    assert replies[0].body == replies[1].body


async def test_off_by_default() -> None:
    async with run_site(answers(whole(ANSWER))) as site:
        for _ in range(2):
            assert cached(await ask(site)) is None
        assert len(site.upstream.requests) == 2


async def test_a_whole_reply_is_given_again_as_a_stream_and_the_other_way(
    site: Site,
) -> None:
    await ask(site)
    streamed = await ask(site, asking(',"stream":true,"user":"somebody"'))
    assert cached(streamed) == "hit"
    assert (streamed.header("content-type") or "").startswith("text/event-stream")
    said = [data_of(event) for event in events(streamed.body)]
    text = "".join(
        chunk["choices"][0]["delta"].get("content") or ""
        for chunk in said
        if isinstance(chunk, dict) and chunk["choices"]
    )
    assert (text, streamed.body.endswith(DONE)) == ("hello", True)
    site.upstream.script = answers(stream(EVENT, STOP, USAGE, DONE))
    other = asking(words=WORDS.replace("x", "y"), more=',"stream":true')
    first = await ask(site, other)
    assert cached(first) == "miss"
    again = await ask(site, other)
    assert (cached(again), again.body) == ("hit", first.body)
    assert b'"usage"' not in again.body
    as_whole = json.loads((await ask(site, other.replace(b"true", b"false"))).body)
    assert as_whole["choices"][0]["message"]["content"] == "x"
    assert as_whole["usage"]["completion_tokens"] == 5
    assert len(site.upstream.requests) == 2


@pytest.mark.parametrize("field", ["no-cache", "no-store"])
async def test_the_caller_may_pass_it_by(field: str) -> None:
    async with run_site(answers(whole(ANSWER)), cache=ON) as site:
        passing = f"cache-control: {field}"
        for _ in range(2):
            assert cached(await ask(site, BODY, passing)) == "bypass"
        # What was not to be read may still have been kept.
        kept = cached(await ask(site))
        assert kept == ("hit" if field == "no-cache" else "miss")
        assert len(site.upstream.requests) == 2 + (kept == "miss")


async def test_errors_and_broken_streams_are_never_kept(site: Site) -> None:
    refusal = b'{"error":{"message":"no","type":"invalid_request_error","code":"bad"}}'
    site.upstream.script = answers(whole(refusal, status=400), whole(ANSWER))
    first = await ask(site)
    assert (first.status, error_of(first)["message"]) == (400, "no")
    assert cached(await ask(site)) == "miss"
    site.upstream.script = then_close(stream(EVENT, end=b""))
    other = asking(',"stream":true', words=WORDS.replace("x", "z"))
    assert b'"error"' in (await ask(site, other)).body
    site.upstream.script = answers(stream(EVENT, STOP, DONE))
    assert cached(await ask(site, other)) == "miss"
    assert cached(await ask(site, other)) == "hit"


async def test_replies_cut_at_a_bound_nobody_set_are_not_kept(site: Site) -> None:
    site.upstream.script = answers(whole(ANSWER.replace(b'"stop"', b'"length"')))
    assert [cached(await ask(site)) for _ in range(2)] == ["miss", "miss"]
    bounded = asking(',"max_tokens":5')
    assert [cached(await ask(site, bounded)) for _ in range(2)] == ["miss", "hit"]


async def test_it_forgets_after_its_time(site: Site) -> None:
    repeats = site.runtime.pipeline._repeats
    assert repeats is not None
    clock = HandClock()
    repeats._cache._store._now = clock  # type: ignore[attr-defined]
    await ask(site)
    clock.now += 3599
    assert cached(await ask(site)) == "hit"
    clock.now += 2
    assert cached(await ask(site)) == "miss"


@pytest.mark.parametrize("fast", [True, False])
async def test_gateways_that_share_a_state_share_replies(fast: bool) -> None:
    with valkey() as server:
        state = {"url": server.new_database()}
        shared = {"cache": ON, "state": state, "fast": fast}
        async with run_site(answers(whole(ANSWER)), **shared) as first:
            box = {"endpoint": first.upstream.url}
            async with run_site(provider=box, **shared) as second:
                assert cached(await ask(first)) == "miss"
                assert first.runtime.state.blobs is not None
                await until(
                    lambda: first.runtime.state.blobs.kept[0] == 1,  # type: ignore[union-attr]
                    "it is kept",
                )
                reply = await ask(second)
                assert (cached(reply), reply.body) == ("hit", ANSWER)
                assert cached(await ask(second, STREAM)) == "hit"
                assert not second.upstream.peers
                server.stop()
                for site in (first, second):
                    assert cached(await ask(site)) == "miss"


async def test_what_another_asks_is_asked_for(site: Site) -> None:
    await ask(site)
    for body, fields in (
        (asking(',"temperature":0.5'), ()),
        (asking(words=WORDS.replace("x", "w")), ()),
        (BODY, ("anthropic-beta: x",)),
    ):
        assert cached(await ask(site, body, *fields)) == "miss"
    assert cached(await ask(site, BODY, path="/v1/completions")) == "miss"


# -- whose ---------------------------------------------------------------------------------


async def test_tenants_share_nothing_and_lists_hold() -> None:
    models = [{"id": "tiny", "providerId": "box", "aliases": ["small"]}]
    async with guarded_site(answers(whole(ANSWER)), cache=ON, models=models) as site:
        mine = bearer((await issue(site, "a", tenant="a")).secret)
        others = bearer((await issue(site, "b", tenant="b")).secret)
        shut = bearer((await issue(site, "c", tenant="a", models=("x",))).secret)
        narrow = bearer((await issue(site, "d", tenant="a", models=("small",))).secret)
        assert cached(await ask(site, BODY, mine)) == "miss"
        assert cached(await ask(site, asking(model="small"), mine)) == "hit"
        assert cached(await ask(site, asking(model="small"), narrow)) == "hit"
        assert cached(await ask(site, BODY, others)) == "miss"
        assert (await ask(site, BODY, shut)).status == 403


async def test_a_hit_uses_no_tokens_and_no_money() -> None:
    models = [
        {
            "id": "tiny",
            "providerId": "box",
            "pricing": {"inputPer1M": 0, "outputPer1M": 100_000},
        }
    ]
    async with guarded_site(answers(whole(ANSWER)), cache=ON, models=models) as site:
        key = await issue(site, daily_usd=1.0, tokens_rate="1000/day")
        body, fields = asking(',"max_tokens":5'), bearer(key.secret)
        assert cached(await ask(site, body, fields)) == "miss"
        for _ in range(3):  # half a dollar is left, which each sets aside
            reply = await ask(site, body, fields)
            assert cached(reply) == "hit"
        size = (len(body) + 3) // 4
        left = int(reply.header("x-ratelimit-remaining-tokens") or 0)
        assert left == 1000 - 8 - (size + 5)
        assert site.records[0].cost_usd == pytest.approx(0.5)
        assert {record.cost_usd for record in site.records[1:]} == {None}


# -- at the same time ----------------------------------------------------------------------


class Slow:
    """Answers when it is told to."""

    def __init__(self, reply: bytes = whole(ANSWER)) -> None:
        self.go = asyncio.Event()
        self.reply = reply

    async def __call__(self, peer: Peer, request: Message) -> None:
        await peer.wait(self.go)
        await peer.send(self.reply)


async def test_those_who_ask_at_once_share_one_request(site: Site) -> None:
    site.upstream.script = slow = Slow()
    asked = [asyncio.ensure_future(ask(site)) for _ in range(5)]
    await until(lambda: site.runtime.active == 5, "all of them")
    await site.busy_peer()
    slow.go.set()
    replies = await asyncio.gather(*asked)
    assert len(site.upstream.requests) == 1
    assert sorted(str(cached(reply)) for reply in replies) == ["hit"] * 4 + ["miss"]
    assert {reply.body for reply in replies} == {ANSWER}
    used = [record.completion_tokens for record in site.records]
    assert sorted(used, key=str) == [5, None, None, None, None]


async def test_it_goes_on_while_one_waiter_remains(site: Site) -> None:
    site.upstream.script = slow = Slow()
    first = await site.caller()
    first.send(post(CHAT, BODY))
    await site.busy_peer()
    second = asyncio.ensure_future(ask(site))
    await until(lambda: site.runtime.active == 2, "both")
    first.leave()
    await until(lambda: site.records, "the first has gone")
    assert site.records[0].status == 499
    slow.go.set()
    reply = await second
    # The one who came second bears what it used.
    assert (reply.status, cached(reply), reply.body) == (200, "miss", ANSWER)
    await until(lambda: len(site.records) == 2, "the second")
    assert site.records[1].completion_tokens == 5
    assert cached(await ask(site)) == "hit"


async def test_it_ends_with_the_last(site: Site) -> None:
    site.upstream.script = Slow()
    callers = [await site.caller() for _ in range(3)]
    for caller in callers:
        caller.send(post(CHAT, BODY))
    await until(lambda: site.runtime.active == 3, "all of them")
    await site.busy_peer()
    for caller in callers:
        caller.leave()
    await until(lambda: not site.runtime.active, "all have gone")
    await until(lambda: not site.upstream.busy_peers, "the upstream is left, too")
    assert all(provider.active == 0 for provider in site.runtime.registry.providers)


async def test_all_who_wait_are_told_of_a_failure(site: Site) -> None:
    site.upstream.script = slow = Slow(whole(b"{}", status=500))
    asked = [asyncio.ensure_future(ask(site)) for _ in range(3)]
    await until(lambda: site.runtime.active == 3, "all of them")
    await site.busy_peer()
    slow.go.set()
    replies = await asyncio.gather(*asked)
    assert {reply.status for reply in replies} == {502}
    assert {error_of(reply)["code"] for reply in replies} == {"upstream_error"}
    assert sum(len(record.attempts) for record in site.records) == 1


async def test_a_reload_forgets_only_what_may_be_answered_otherwise(
    site: Site,
) -> None:
    await ask(site)
    site.rewrite({**site.content, "stream": {"keepAliveSeconds": 20}})
    assert (await site.runtime.reload("test")).ok
    assert cached(await ask(site)) == "hit"
    other: dict[str, Any] = {"id": "tiny", "providerId": "box"}
    params = {"params": {"set": {"temperature": 0}}}
    site.rewrite({**site.content, "models": [other | params]})
    assert (await site.runtime.reload("test")).ok
    assert cached(await ask(site)) == "miss"
    site.rewrite({**site.content, "cache": {"enabled": False}})
    assert (await site.runtime.reload("test")).ok
    assert cached(await ask(site)) is None
