"""Who is asked, and who then: slots, the queue and failover, through the pipeline."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from providers.base import OPERATIONS
from proxy.core.call import Call
from proxy.core.types import Headers
from proxy.pipeline.model import read_json
from proxy.routing.breaker import THRESHOLD
from proxy.server.buffered import WholeBody
from proxy.state.base import Where
from tests.parts.faulty import Faulty, Peer, Script
from tests.parts.http_text import LAST_CHUNK, Message, chunk, head, post, whole
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site
from tests.parts.scripts import BODY, EVENT, STREAM, answers, error_of, stream
from tests.parts.until import until

EAGER = {"retry": {"backoffSeconds": 0}, "queue": {"maxWaitSeconds": 5}}
LOADING = whole(b'{"error":{"message":"Loading model"}}', status=503)
GOOD = whole(COMPLETION)
DONE = b"data: [DONE]\n\n"
TALK = b'{"model":"tiny","messages":[{"role":"user","content":"Hello"}]}'


@pytest.fixture
async def second() -> AsyncIterator[Faulty]:
    async with Faulty(answers(GOOD)) as upstream:
        yield upstream


def two(second: Faulty, **box: Any) -> dict[str, Any]:
    """The model `tiny` at `box`, and after that at `spare`."""
    spare = {"id": "spare", "kind": "vllm", "endpoint": second.url, "priority": 90}
    tiny = {"id": "tiny", "providers": [{"id": "box"}, {"id": "spare"}]}
    return {"others": [spare], "models": [tiny], "routing": EAGER, "provider": box}


def gauges(site: Site) -> list[int]:
    return [provider.active for provider in site.runtime.registry.providers]


# -- slots and the queue --------------------------------------------------------------------


async def test_no_more_are_asked_at_once_than_there_are_slots(
    open_site: OpenSite,
) -> None:
    go = asyncio.Event()

    async def when_told(peer: Peer, request: Message) -> None:
        await peer.wait(go)
        await peer.send(GOOD)

    site = await open_site(
        when_told, provider={"maxConcurrent": 1}, routing=EAGER, fast=True
    )
    replies = [asyncio.ensure_future(site.ask(post(CHAT, BODY))) for _ in range(4)]
    await until(lambda: len(site.runtime.dispatch.queue) == 3, "three wait")
    assert len(site.upstream.requests) == 1
    go.set()
    answered = await asyncio.gather(*replies)
    assert [reply.status for reply in answered] == [200] * 4
    waited = [float(reply.header("x-proxy-queue-ms") or 0) > 0 for reply in answered]
    assert sorted(waited) == [False, True, True, True]
    assert gauges(site) == [0]


async def test_who_waits_too_long_is_told_so(open_site: OpenSite) -> None:
    async def never(peer: Peer, request: Message) -> None:
        await peer.wait(asyncio.Event())

    site = await open_site(
        never,
        provider={"maxConcurrent": 1},
        routing={"queue": {"maxWaitSeconds": 0.3}},
    )
    busy = await site.caller()
    busy.send(post(CHAT, BODY))
    await site.busy_peer()
    reply = await site.ask(post(CHAT, BODY))
    assert reply.status == 503
    assert error_of(reply)["code"] == "provider_capacity_exceeded"
    assert int(reply.header("retry-after") or 0) >= 1
    busy.leave()
    await until(lambda: gauges(site) == [0], "the slot is free")


async def test_a_full_queue_refuses(open_site: OpenSite) -> None:
    async def never(peer: Peer, request: Message) -> None:
        await peer.wait(asyncio.Event())

    site = await open_site(
        never,
        provider={"maxConcurrent": 1},
        routing={"queue": {"maxWaitSeconds": 5, "maxLength": 1}},
    )
    callers = [await site.caller() for _ in range(2)]
    for caller in callers:
        caller.send(post(CHAT, BODY))
    await until(lambda: len(site.runtime.dispatch.queue) == 1, "one waits")
    reply = await site.ask(post(CHAT, BODY))
    assert reply.status == 429
    assert error_of(reply)["code"] == "queue_full"
    assert reply.header("retry-after")


async def test_who_leaves_the_queue_leaves_nothing(site_of_one: Site) -> None:
    site = site_of_one
    busy, waiting = await site.caller(), await site.caller()
    busy.send(post(CHAT, BODY))
    await site.busy_peer()
    waiting.send(post(CHAT, BODY))
    await until(lambda: len(site.runtime.dispatch.queue) == 1, "one waits")
    waiting.leave()
    await until(lambda: len(site.runtime.dispatch.queue) == 0, "it has left")
    assert len(site.upstream.requests) == 1
    record = await site.record()
    assert (record.status, record.code) == (499, "client_closed_request")


@pytest.fixture(params=[True, False])
async def site_of_one(request: pytest.FixtureRequest, open_site: OpenSite) -> Site:
    async def never(peer: Peer, request: Message) -> None:
        await peer.wait(asyncio.Event())

    return await open_site(
        never, provider={"maxConcurrent": 1}, routing=EAGER, fast=request.param
    )


async def test_a_full_provider_is_passed_over(
    open_site: OpenSite, second: Faulty
) -> None:
    async def never(peer: Peer, request: Message) -> None:
        await peer.wait(asyncio.Event())

    site = await open_site(never, **two(second, maxConcurrent=1))
    busy = await site.caller()
    busy.send(post(CHAT, BODY))
    await site.busy_peer()
    reply = await site.ask(post(CHAT, BODY))
    assert reply.header("x-proxy-provider") == "spare"


# -- failover ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        whole(b"", status=502),
        whole(b"", status=503),
        whole(b"", status=504),
        whole(b"", status=529),
        whole(b"", status=500),
        whole(b"", status=429),
        whole(b"", status=401),
        whole(b"<html>", kind="text/html"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{",
        b"HTTP/1.1 301 Moved\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
@pytest.mark.parametrize("body", [BODY, STREAM])
async def test_another_is_asked_when_one_fails(
    open_site: OpenSite, second: Faulty, reply: bytes, body: bytes
) -> None:
    async def fail(peer: Peer, request: Message) -> None:
        await peer.send(reply)
        peer.close()

    second.script = answers(GOOD if body is BODY else stream(EVENT, DONE))
    site = await open_site(fail, **two(second))
    got = await site.ask(post(CHAT, body))
    assert got.status == 200
    assert got.header("x-proxy-provider") == "spare"
    assert got.header("x-proxy-attempts") == "2"
    record = await site.record()
    assert [attempt.provider for attempt in record.attempts] == ["box", "spare"]
    assert record.attempts[0].code is not None
    assert record.code is None
    assert gauges(site) == [0, 0]


async def test_another_is_asked_when_nobody_listens(
    open_site: OpenSite, second: Faulty, unused_tcp_port: int
) -> None:
    sections = two(second, endpoint=f"http://127.0.0.1:{unused_tcp_port}")
    site = await open_site(**sections)
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, reply.header("x-proxy-provider")) == (200, "spare")


async def test_the_callers_own_fault_goes_straight_back(
    open_site: OpenSite, second: Faulty
) -> None:
    refusal = b'{"error":{"message":"no such field","type":"invalid_request_error"}}'
    site = await open_site(answers(whole(refusal, status=400)), **two(second))
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, reply.body) == (400, refusal)
    assert second.requests == []


async def test_a_model_that_only_one_lacks_is_asked_for_elsewhere(
    open_site: OpenSite, second: Faulty
) -> None:
    lacking = b'{"error":{"message":"no such model","type":"NotFoundError"}}'
    site = await open_site(answers(whole(lacking, status=404)), **two(second))
    assert (await site.ask(post(CHAT, BODY))).status == 200
    second.script = answers(whole(lacking, status=404))
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, reply.body) == (404, lacking), "in its own words"


async def test_the_only_one_is_asked_once_more(open_site: OpenSite) -> None:
    site = await open_site(answers(whole(b"", status=502), GOOD), routing=EAGER)
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, reply.header("x-proxy-attempts")) == (200, "2")


async def test_waiting_to_ask_again_is_no_overhead(open_site: OpenSite) -> None:
    broken = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"

    async def stalls_at_first(peer: Peer, request: Message) -> None:
        if len(site.upstream.requests) == 1:
            await peer.send(broken)
            await peer.wait(asyncio.Event())
        await peer.send(GOOD)

    site = await open_site(
        stalls_at_first,
        provider={"timeouts": {"idle": 0.3}},
        routing=EAGER | {"retry": {"backoffSeconds": 0.2}},
    )
    reply = await site.ask(post(CHAT, BODY))
    record = await site.record()
    assert record.upstream_wait_s >= 0.3 + 0.5 * 0.2
    overhead_s = float(reply.header("x-proxy-overhead-ms") or "nan") / 1000
    assert record.ended_at is not None
    total_s = record.ended_at - record.started_at
    assert overhead_s + record.upstream_wait_s < total_s + 0.001


async def test_waiting_for_a_slot_is_no_overhead(open_site: OpenSite) -> None:
    go = asyncio.Event()

    async def when_told(peer: Peer, request: Message) -> None:
        await peer.wait(go)
        await peer.send(GOOD)

    site = await open_site(when_told, provider={"maxConcurrent": 1}, routing=EAGER)
    replies = [asyncio.ensure_future(site.ask(post(CHAT, BODY))) for _ in range(2)]
    await until(lambda: len(site.runtime.dispatch.queue) == 1, "one waits")
    go.set()
    answered = await asyncio.gather(*replies)
    [waited] = [reply for reply in answered if reply.header("x-proxy-queue-ms")]
    overhead_s = float(waited.header("x-proxy-overhead-ms") or "nan") / 1000
    [record] = [one for one in site.records if one.queue_s]
    assert record.ended_at is not None
    total_s = record.ended_at - record.started_at
    assert overhead_s + record.queue_s + record.upstream_wait_s < total_s + 0.001


async def test_and_not_twice(open_site: OpenSite) -> None:
    site = await open_site(answers(whole(b"", status=502)), routing=EAGER)
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, len(site.upstream.requests)) == (502, 2)
    assert reply.header("x-should-retry") == "false"


async def test_after_the_first_event_nobody_else_is_asked(
    open_site: OpenSite, second: Faulty
) -> None:
    async def cut(peer: Peer, request: Message) -> None:
        await peer.send(stream(EVENT, end=b""))
        peer.close()

    site = await open_site(cut, **two(second))
    reply = await site.ask(post(CHAT, STREAM))
    assert reply.body.startswith(EVENT)
    assert b'"upstream_stream_broken"' in reply.body
    assert second.requests == []


async def test_before_it_another_goes_on_with_the_stream(
    open_site: OpenSite, second: Faulty
) -> None:
    async def cut(peer: Peer, request: Message) -> None:
        await peer.send(stream(end=b""))
        peer.close()

    second.script = answers(stream(EVENT, DONE))
    site = await open_site(cut, **two(second))
    reply = await site.ask(post(CHAT, STREAM))
    assert (reply.status, reply.body) == (200, EVENT + DONE)


async def test_a_model_that_is_loading_is_asked_for_again(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.routing.failover._LOADING_PAUSES_S", (0.01,))
    site = await open_site(answers(LOADING, LOADING, GOOD), routing=EAGER)
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, reply.header("x-proxy-attempts")) == (200, "3")


async def test_one_that_goes_on_loading_is_given_up(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.routing.failover._LOADING_PAUSES_S", (0.05,))
    site = await open_site(
        answers(LOADING), provider={"timeouts": {"firstByte": 0.3}}, routing=EAGER
    )
    reply = await site.ask(post(CHAT, BODY))
    assert reply.status == 503
    assert error_of(reply)["code"] == "model_loading"
    assert len(site.upstream.requests) > 1


async def test_a_fallback_is_asked_when_the_model_has_nobody_left(
    open_site: OpenSite, second: Faulty
) -> None:
    spare = {"id": "spare", "kind": "vllm", "endpoint": second.url}
    models = [
        {"id": "tiny", "providerId": "box", "fallbacks": ["other"]},
        {"id": "other", "providerId": "spare", "upstreamModel": "Other-1B"},
    ]
    site = await open_site(
        answers(whole(b"", status=500)), others=[spare], models=models, routing=EAGER
    )
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, reply.header("x-proxy-model")) == (200, "Other-1B")
    assert json.loads(second.requests[0].body)["model"] == "Other-1B"


async def test_a_longer_context_is_asked_for_when_the_model_has_too_little(
    open_site: OpenSite, second: Faulty
) -> None:
    too_long = (
        b'{"error":{"message":"maximum context length is 8 tokens",'
        b'"code":"context_length_exceeded"}}'
    )
    spare = {"id": "spare", "kind": "vllm", "endpoint": second.url}
    models = [
        {"id": "tiny", "providerId": "box", "contextFallbacks": ["long"]},
        {"id": "long", "providerId": "spare"},
    ]
    site = await open_site(
        answers(whole(too_long, status=400)),
        others=[spare],
        models=models,
        routing=EAGER,
    )
    assert (await site.ask(post(CHAT, BODY))).header("x-proxy-provider") == "spare"


async def test_the_next_key_is_used_when_one_is_rate_limited(
    open_site: OpenSite,
) -> None:
    site = await open_site(
        answers(whole(b"", status=429), GOOD),
        provider={"authSecrets": ["first-key", "second-key"]},
        routing=EAGER,
    )
    assert (await site.ask(post(CHAT, BODY))).status == 200
    assert (await site.ask(post(CHAT, BODY))).status == 200
    used = [request.header("authorization") for request in site.upstream.requests]
    assert used == ["Bearer first-key", "Bearer second-key", "Bearer second-key"]


async def test_a_rate_limit_holds_for_that_model_there(
    open_site: OpenSite, second: Faulty
) -> None:
    limited: Script = answers(
        whole(b"", status=429).replace(b"\r\n\r\n", b"\r\nretry-after: 60\r\n\r\n", 1)
    )
    site = await open_site(limited, **two(second))
    for _ in range(3):
        assert (await site.ask(post(CHAT, BODY))).status == 200
    assert len(site.upstream.requests) == 1
    assert len(second.requests) == 3


async def test_no_reply_in_time_is_not_asked_for_again(
    open_site: OpenSite, second: Faulty
) -> None:
    async def never(peer: Peer, request: Message) -> None:
        await peer.wait(asyncio.Event())

    site = await open_site(never, **two(second, timeouts={"firstByte": 0.3}))
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, error_of(reply)["code"]) == (504, "upstream_timeout")
    assert second.requests == []


# -- breakers ---------------------------------------------------------------------------------


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a circuit cool down soon."""
    monkeypatch.setattr("proxy.routing.breaker.FIRST_COOLDOWN_S", 0.5)
    monkeypatch.setattr("proxy.routing.choose._PROBED_S", 0.1)


class Ill:
    """Fails so many requests, then serves the first when it is told, others at once."""

    def __init__(self, failures: int) -> None:
        self.go = asyncio.Event()
        self.fail = asyncio.Event()
        self.asked = 0
        self._failures = failures

    async def __call__(self, peer: Peer, request: Message) -> None:
        self.asked += 1
        if self.asked <= self._failures:
            await peer.wait(self.fail)
            await peer.send(whole(b"", status=500))
            return
        if self.asked == self._failures + 1:
            await peer.wait(self.go)
        await peer.send(GOOD)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("slots", [None, 2])
async def test_who_comes_while_a_breaker_is_open_waits_for_its_end(
    open_site: OpenSite, slots: int | None
) -> None:
    server = Ill(THRESHOLD)
    server.fail.set()
    site = await open_site(
        server,
        provider={"maxConcurrent": slots},
        routing=EAGER | {"queue": {"maxWaitSeconds": 30}},
    )
    for _ in range(THRESHOLD):
        assert (await site.ask(post(CHAT, BODY))).status == 502
    replies = [asyncio.ensure_future(site.ask(post(CHAT, BODY))) for _ in range(20)]
    await until(lambda: site.runtime.active == 20, "all of them wait")
    assert server.asked == THRESHOLD
    await until(lambda: server.asked > THRESHOLD, "one that tries it")
    await site.settle()
    assert server.asked == THRESHOLD + 1, "one alone"
    server.go.set()
    answered = await asyncio.gather(*replies)
    assert [reply.status for reply in answered] == [200] * 20
    assert gauges(site) == [0]


@pytest.mark.usefixtures("brief")
async def test_who_waits_in_the_queue_as_a_breaker_opens_is_served_too(
    open_site: OpenSite,
) -> None:
    slots, waiting = 2 * THRESHOLD, 20
    server = Ill(slots)
    site = await open_site(
        server,
        provider={"maxConcurrent": slots},
        routing=EAGER | {"queue": {"maxWaitSeconds": 30}},
    )
    first = [asyncio.ensure_future(site.ask(post(CHAT, BODY))) for _ in range(slots)]
    await until(lambda: server.asked == slots, "no slot is free")
    later = [asyncio.ensure_future(site.ask(post(CHAT, BODY))) for _ in range(waiting)]
    await until(lambda: len(site.runtime.dispatch.queue) == waiting, "they wait")
    server.fail.set()
    assert {reply.status for reply in await asyncio.gather(*first)} == {502}
    await until(lambda: server.asked > slots, "one that tries it")
    server.go.set()
    answered = await asyncio.gather(*later)
    assert [reply.status for reply in answered] == [200] * waiting
    assert gauges(site) == [0]


async def test_no_more_wait_for_the_end_of_a_pause_than_may_wait(
    open_site: OpenSite,
) -> None:
    limited = b"HTTP/1.1 429 Slow\r\nretry-after: 20\r\ncontent-length: 0\r\n\r\n"
    site = await open_site(
        answers(limited),
        routing={"queue": {"maxWaitSeconds": 30, "maxLength": 3}},
    )
    waiting = [asyncio.ensure_future(site.ask(post(CHAT, BODY))) for _ in range(3)]
    pauses = site.runtime.dispatch.pauses
    await until(lambda: len(pauses) == 3, "they wait")
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, error_of(reply)["code"]) == (429, "upstream_rate_limited")
    assert int(reply.header("retry-after") or 0) > 10
    assert len(pauses) == 3
    site.leave()
    await asyncio.gather(*waiting, return_exceptions=True)
    await until(lambda: len(pauses) == 0, "they have gone")


async def test_a_model_rests_until_the_moment_that_its_provider_names(
    open_site: OpenSite,
) -> None:
    named = (
        "date: Sun, 06 Nov 1994 08:49:37 GMT",
        "retry-after: Sun, 06 Nov 1994 08:51:17 GMT", "content-length: 0",
    )  # fmt: skip
    site = await open_site(answers(head(429, *named)))
    assert (await site.ask(post(CHAT, BODY))).header("retry-after") == "100"
    cooldowns = site.runtime.state.cooldowns
    assert 90 < cooldowns.remaining_s(Where("box", "tiny")) <= 100


async def test_no_prompt_is_kept_while_its_answer_streams(open_site: OpenSite) -> None:
    go = asyncio.Event()

    async def slowly(peer: Peer, request: Message) -> None:
        await peer.send(stream(EVENT, end=b""))
        await peer.wait(go)
        await peer.send(chunk(DONE) + LAST_CHUNK)

    site = await open_site(slowly, fast=True)
    prompt = json.dumps({"role": "user", "content": "remember " * 1000}).encode()
    asked = STREAM.replace(b'"messages":[]', b'"messages":[%b]' % prompt)
    caller = await site.caller()
    caller.send(post(CHAT, asked))
    courses = site.runtime.pipeline._courses
    await until(lambda: courses, "a call")
    [course] = courses
    await until(lambda: course.call.body.whole is None, "the body has gone")
    go.set()
    assert (await caller.reply()).body == EVENT + DONE
    record = await site.record()
    assert (record.status, record.bytes_in) == (200, len(asked))


def test_conversations_are_kept_together_for_each_tenant_alone() -> None:
    call = Call(
        "1", None, "chat", "POST", CHAT, CHAT, "", {}, Headers(), "", False,
        WholeBody(TALK), 0.0,
    )  # fmt: skip
    made = [read_json(call, OPERATIONS["chat"], TALK, 1 << 20) for _ in range(3)]
    made[2].tenant = "other"
    first, again, other = [request.marks() for request in made]
    assert first == again
    assert first != other
