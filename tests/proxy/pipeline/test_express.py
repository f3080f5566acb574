"""A request of a kind that has been answered before ends as the first did."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from proxy.config.schema_policy import RateLimit, RateLimitsConfig
from proxy.core.errors import GatewayFault
from proxy.core.types import Record
from tests.fakes.hand_clock import HandClock
from tests.parts.faulty import Faulty, Peer, Script
from tests.parts.http_text import Message, head, post, whole
from tests.parts.inside import CHAT, MESSAGES, OpenSite, Site
from tests.parts.keys import bearer, guarded_site, issue, keyring
from tests.parts.scripts import BODY, DONE, EVENT, STREAM, USAGE, answers, stream
from tests.parts.until import until

USED = (
    b'{"object":"chat.completion","choices":[{"index":0}],"usage":{"prompt_tokens":3,'
    b'"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":2}}}'
)
GOOD = whole(USED)
PLAIN = whole(
    b'{"object":"chat.completion","choices":[{"index":0}],"usage":{"prompt_tokens":3,'
    b'"completion_tokens":5}}'
)
SERVED = head(
    200, "content-type: application/json", "server: someone", "x-odd: kept",
    f"content-length: {len(USED)}",
) + USED  # fmt: skip
OWN = {"x-request-id", "x-proxy-overhead-ms"}


def trips(site: Site) -> list[object]:
    """Note the trips that begin from here on."""
    express, begun = site.runtime.pipeline.express, []
    begin = express.begin

    def noted(*given: Any) -> object:
        begun.append(begin(*given))
        return begun[-1]

    express.begin = noted  # type: ignore[method-assign,assignment]
    return begun


async def usual(open_site: OpenSite, body: bytes = BODY, **options: Any) -> Site:
    """Open a gateway that has answered such a request."""
    site = await open_site(answers(GOOD), fast=True, **options)
    assert (await site.ask(post(CHAT, body))).status == 200
    await until(lambda: len(site.records) == 1, "the first record")
    return site


def story(record: Record) -> dict[str, Any]:
    """What a record tells, but for the request's id and the times."""
    told = {name: getattr(record, name) for name in dir(record) if name[0] != "_"}
    told.pop("memo")
    times = {n for n in told if n.endswith(("_at", "_s"))} | {"id", "overhead_s"}
    return {
        name: repr(value)
        for name, value in told.items()
        if name not in times and not callable(value)
    }


def said(reply: Message) -> tuple[object, ...]:
    fields = [pair for pair in reply.headers if pair[0] not in OWN]
    return reply.start, fields, reply.body


@pytest.mark.parametrize(
    "answer", [GOOD, SERVED, PLAIN], ids=["details", "with fields", "plain"]
)
async def test_the_second_is_answered_and_recorded_as_the_first(
    open_site: OpenSite, answer: bytes
) -> None:
    site = await open_site(answers(answer), fast=True)
    begun = trips(site)
    fields = "x-request-id: mine", "x-more: 1"
    first = await site.ask(post(CHAT, BODY, *fields))
    second = await site.ask(post(CHAT, BODY, *fields))
    assert begun[0] is None
    assert begun[1] is not None
    assert said(second) == said(first)
    assert [name for name, _ in second.headers] == [name for name, _ in first.headers]
    await until(lambda: len(site.records) == 2, "both records")
    assert story(site.records[1]) == story(site.records[0])
    assert site.records[1].id != site.records[0].id
    sent = [message.raw for message in site.upstream.requests]
    assert sent[1] == sent[0]
    lines = site.runtime.metrics.exposition()[0].decode()
    assert 'tokens_total{kind="prompt",model="tiny",provider="box"} 6.0' in lines
    assert site.runtime.registry.providers[0].active == 0
    assert site.runtime.active == 0


async def test_edits_are_made_each_time(open_site: OpenSite) -> None:
    model = {"id": "tiny", "providerId": "box", "upstreamModel": "other",
             "params": {"set": {"seed": 7}, "strip": ["user"]}}  # fmt: skip
    site = await open_site(answers(GOOD), fast=True, models=[model])
    begun = trips(site)
    for text in ("one", "two"):
        body = json.dumps({"model": "tiny", "user": text, "messages": [text]})
        await site.ask(post(CHAT, body.encode()))
    assert begun[1] is not None
    sent = [json.loads(message.body) for message in site.upstream.requests]
    assert sent == [
        {"model": "other", "messages": [text], "seed": 7} for text in ("one", "two")
    ]


async def test_one_connection_carries_many(open_site: OpenSite) -> None:
    site = await usual(open_site)
    begun, caller = trips(site), await site.caller()
    request = post(CHAT, BODY)
    for _ in range(3):
        caller.send(request)
        assert (await caller.reply()).body == USED
    caller.send(request * 5)  # without waiting for a reply
    for _ in range(5):
        assert (await caller.reply()).body == USED
    assert len(begun) == 8
    assert None not in begun
    assert len(site.upstream.peers) == 1


ODD = {
    "an error in a good status": whole(b'{"error":{"message":"no","code":"odd"}}'),
    "no usage": whole(b'{"object":"chat.completion","choices":[]}'),
    "no JSON": whole(b"hello"),
    "text": whole(b"hello", kind="text/plain"),
    "created": whole(USED, status=201),
    "refused": whole(b'{"error":{"message":"no"}}', status=400),
    "failed": whole(b"down", status=500),
    "limited": whole(b"slow", status=429),
    "redirected": head(307, "location: http://other.example/", "content-length: 0"),
    "compressed": head(200, "content-type: application/json", "content-encoding: br",
                       "content-length: 3") + b"abc",
    "chunked": head(200, "content-type: application/json", "transfer-encoding: chunked")
    + b"%x\r\n%b\r\n0\r\n\r\n" % (len(USED), USED),
    "no HTTP": b"SSH-2.0\r\n\r\n",
    "switched": head(101, "upgrade: odd", "connection: upgrade"),
}  # fmt: skip


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
async def test_whatever_else_is_answered_is_treated_as_ever(
    open_site: OpenSite, answer: bytes
) -> None:
    plain = await open_site(answers(answer), fast=False)
    expected = await plain.ask(post(CHAT, BODY))
    site = await usual(open_site)
    begun, site.upstream.script = trips(site), answers(answer)
    reply = await site.ask(post(CHAT, BODY))
    assert begun[0] is not None
    assert reply.start == expected.start
    assert [name for name, _ in reply.headers] == [name for name, _ in expected.headers]
    assert without_id(reply) == without_id(expected)
    await until(lambda: len(site.records) == 2 and plain.records, "the records")
    assert story(site.records[1]) == story(plain.records[0])
    assert site.runtime.registry.providers[0].active == 0


def without_id(reply: Message) -> bytes:
    return reply.body.partition(b" (request id")[0]


async def test_a_reply_in_pieces_is_put_together(open_site: OpenSite) -> None:
    async def in_pieces(peer: Peer, request: Message) -> None:
        for at in range(0, len(GOOD), 40):
            await peer.send(GOOD[at : at + 40])
            await asyncio.sleep(0)

    site = await usual(open_site)
    site.upstream.script = in_pieces
    assert (await site.ask(post(CHAT, BODY))).body == USED


async def test_a_connection_that_was_closed_meanwhile_costs_nothing(
    open_site: OpenSite,
) -> None:
    site = await usual(open_site)
    site.upstream.script = closes_once()
    begun = trips(site)
    reply = await site.ask(post(CHAT, BODY))
    assert begun[0] is not None
    assert (reply.status, reply.body) == (200, USED)
    assert reply.header("x-proxy-attempts") == "1"


def closes_once() -> Script:
    good, has_closed = answers(GOOD), []

    async def play(peer: Peer, request: Message) -> None:
        if has_closed:
            await good(peer, request)
        else:
            has_closed.append(peer)
            peer.close()

    return play


async def test_another_provider_is_asked_after_a_failure(open_site: OpenSite) -> None:
    async with Faulty(answers(whole(b'{"spare":1}'))) as spare:
        other = {"id": "spare", "kind": "vllm", "endpoint": spare.url, "priority": 99}
        model = {"id": "tiny", "providers": [{"id": "box"}, {"id": "spare"}]}
        site = await usual(open_site, others=[other], models=[model])
        begun, site.upstream.script = trips(site), answers(whole(b"", status=503))
        reply = await site.ask(post(CHAT, BODY))
        assert begun[0] is not None
        assert reply.body == b'{"spare":1}'
        assert reply.header("x-proxy-attempts") == "2"


async def never(peer: Peer, request: Message) -> None:
    await peer.wait(asyncio.Event())


async def test_a_caller_who_leaves_frees_everything(open_site: OpenSite) -> None:
    site = await usual(open_site)
    site.upstream.script, begun = never, trips(site)
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    peer = await site.busy_peer()
    assert begun[0] is not None
    assert site.runtime.active == site.runtime.registry.providers[0].active == 1
    caller.leave()
    await until(lambda: len(site.records) == 2, "a record")
    assert site.records[1].status == 499
    await until(peer.gone.is_set, "the end of the upstream's connection")
    assert site.runtime.active == site.runtime.registry.providers[0].active == 0


async def test_a_long_wait_ends_at_the_deadline(open_site: OpenSite) -> None:
    site = await usual(open_site, provider={"timeouts": {"firstByte": 5}})
    site.upstream.script, begun = never, trips(site)
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    await site.busy_peer()
    assert begun[0] is not None
    site.later(2.0)
    site.later(6.0)
    reply = await caller.reply()
    assert reply.status == 504
    assert reply.header("x-proxy-attempts") == "1"


async def test_a_late_reply_is_given(open_site: OpenSite) -> None:
    go_on = asyncio.Event()

    async def late(peer: Peer, request: Message) -> None:
        await peer.wait(go_on)
        await peer.send(GOOD)

    site = await usual(open_site)
    site.upstream.script = late
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    await site.busy_peer()
    site.later(2.0)
    go_on.set()
    assert (await caller.reply()).body == USED


async def test_the_gateway_may_end_it(open_site: OpenSite) -> None:
    site = await usual(open_site)
    site.upstream.script = never
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    await site.busy_peer()
    site.runtime.interrupt_all(
        GatewayFault("shutting_down", "The gateway is stopping.")
    )
    assert (await caller.reply()).status == 503
    assert site.runtime.active == 0


async def test_full_slots_are_waited_for(open_site: OpenSite) -> None:
    go_on = asyncio.Event()

    async def slow(peer: Peer, request: Message) -> None:
        await peer.wait(go_on)
        await peer.send(GOOD)

    site = await usual(
        open_site,
        provider={"maxConcurrent": 1},
        routing={"queue": {"maxWaitSeconds": 30}},
    )
    begun, site.upstream.script = trips(site), slow
    callers = [await site.caller() for _ in range(3)]
    for caller in callers:
        caller.send(post(CHAT, BODY))
    await until(lambda: len(begun) == 3, "all requests")
    assert [one is not None for one in begun] == [True, False, False]
    assert len(site.upstream.busy_peers) <= 1
    go_on.set()
    assert [(await caller.reply()).status for caller in callers] == [200, 200, 200]


async def test_news_of_providers_are_heeded_at_once(open_site: OpenSite) -> None:
    site = await usual(open_site)
    begun = trips(site)
    site.runtime._rebuild()
    assert (await site.ask(post(CHAT, BODY))).status == 200
    assert (await site.ask(post(CHAT, BODY))).status == 200
    assert [one is not None for one in begun] == [False, True]


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (CHAT, b'{"model":"tiny","messages":[]'),
        (CHAT, b'{"model":"tiny","model":"tiny","messages":[]}'),
        (CHAT, b'{"model":"gone","messages":[]}'),
        (MESSAGES, b'{"model":"tiny","messages":[],"max_tokens":1}'),
    ],
    ids=["no JSON", "a key twice", "another model", "another dialect"],
)
async def test_what_is_not_of_the_same_kind_goes_the_whole_way(
    open_site: OpenSite, target: str, body: bytes
) -> None:
    site = await usual(open_site)
    begun = trips(site)
    for _ in range(2):
        await site.ask(post(target, body))
    assert begun == [None, None]


async def test_replies_of_one_turn_leave_after_one_write_of_the_ledger(
    open_site: OpenSite,
) -> None:
    site = await usual(open_site, records=True)
    records = site.runtime.records
    assert records is not None
    spool, story_ = records.ledger._spool, []
    put = spool.put

    def noted(data: bytes, count: int = 1) -> None:
        story_.append(f"{count} kept")
        put(data, count)

    spool.put = noted  # type: ignore[method-assign]
    loop, desk = asyncio.get_running_loop(), site.runtime.pipeline.express.desk
    for name in "ab":
        record = Record(f"req_{name}", "chat", loop.time())
        desk.report(record, lambda name=name: story_.append(f"{name} given"))
    assert story_ == []
    await asyncio.sleep(0)
    assert story_ == ["2 kept", "a given", "b given"]


async def test_every_reply_is_given_though_one_cannot(open_site: OpenSite) -> None:
    site = await usual(open_site, records=True)
    begun = trips(site)
    caller = await site.caller()
    for _ in range(3):
        caller.send(post(CHAT, BODY))
        assert (await caller.reply()).body == USED
    assert None not in begun
    desk, given = site.runtime.pipeline.express.desk, []

    def fail() -> None:
        raise RuntimeError

    for then in (fail, lambda: given.append(1)):
        desk.report(Record("req_x", "chat", 0.0), then)
    await asyncio.sleep(0)
    assert given == [1]


async def test_no_trip_shows_a_secret(open_site: OpenSite) -> None:
    site = await usual(open_site)
    fields = "authorization: Bearer a-secret", "x-more: 2"
    body = b'{"model":"tiny","messages":["a-secret"]}'
    await site.ask(post(CHAT, body, *fields))
    begun = trips(site)
    await site.ask(post(CHAT, body, *fields))
    [trip] = begun
    assert trip is not None
    assert "a-secret" not in repr(trip)
    assert "a-secret" not in repr(trip.head)  # type: ignore[attr-defined]
    assert "a-secret" not in repr(trip.members)  # type: ignore[attr-defined]
    assert repr(trip.track) == "Track(tiny)"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "member", [rb'"user":"\ud800"', rb'"metadata":{"user_id":"\udc00"}']
)
async def test_an_end_user_that_cannot_be_read_costs_nobody_a_slot(
    open_site: OpenSite, member: bytes
) -> None:
    name = member.partition(b":")[0]
    body = b'{"model":"tiny","messages":[],%b}'
    site = await usual(open_site, body % (name + b":null"))
    begun = trips(site)
    reply = await site.ask(post(CHAT, body % member))
    assert begun[0] is not None
    assert (reply.status, reply.body) == (200, USED)
    await until(lambda: len(site.records) == 2, "both records")
    assert site.runtime.registry.providers[0].active == 0
    assert site.runtime.active == 0


async def test_what_fails_in_the_short_way_is_answered_in_the_whole(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await usual(open_site)

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("proxy.pipeline.express.note_usage", fail)
    assert (await site.ask(post(CHAT, BODY))).body == USED
    await until(lambda: len(site.records) == 2, "both records")
    assert story(site.records[1]) == story(site.records[0])
    assert site.runtime.registry.providers[0].active == 0


async def test_a_limit_that_cannot_be_asked_leaves_nothing_taken(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"default": {"requests": "1000/minute"}}
    site = await usual(open_site, rateLimits=limits)
    begun, express = trips(site), site.runtime.pipeline.express
    asked = express._allowance.try_reserve
    failing = [True]

    def fail_once(*given: Any) -> object:
        if failing:
            failing.clear()
            raise RuntimeError
        return asked(*given)

    monkeypatch.setattr(express._allowance, "try_reserve", fail_once)
    assert (await site.ask(post(CHAT, BODY))).body == USED
    assert begun == [None]
    assert site.runtime.registry.providers[0].active == 0
    assert len(site.upstream.peers) == 1


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "ordinary"])
async def test_a_keys_limit_holds_and_is_told_as_ever(fast: bool) -> None:
    limits = {"default": {"requests": "4/minute"}}
    async with guarded_site(answers(PLAIN), fast=fast, rateLimits=limits) as site:
        site.runtime.state.rates._now = clock = HandClock()  # type: ignore[attr-defined]
        begun, auth = trips(site), bearer((await issue(site)).secret)
        asked = post(CHAT, BODY, auth)
        for left in (3, 2, 1, 0):
            reply = await site.ask(asked)
            assert reply.status == 200
            assert reply.header("x-ratelimit-remaining-requests") == str(left)
        reply = await site.ask(asked)
        assert (reply.status, reply.header("retry-after")) == (429, "15")
        clock.pass_by(15)
        assert (await site.ask(asked)).status == 200
        assert (await site.ask(post(CHAT, STREAM, auth))).status == 429
        assert [one is not None for one in begun[1:4]] == [True] * 3 * fast
        assert site.runtime.registry.providers[0].active == 0


async def test_another_limit_holds_from_the_next_request_on() -> None:
    limits = {"default": {"requests": "1000/minute"}}
    async with guarded_site(answers(PLAIN), fast=True, rateLimits=limits) as site:
        begun, auth = trips(site), bearer((await issue(site)).secret)
        asked, allowance = post(CHAT, BODY, auth), site.runtime.pipeline._allowance
        for _ in range(2):
            await site.ask(asked)
        assert begun[1] is not None
        fewer = RateLimitsConfig(
            default=RateLimit(requests="3/hour", tokens="9999/hour")
        )
        allowance.adopt(replace(site.runtime.config, rate_limits=fewer))
        for left in (1, 0):  # a bit of it is used already
            reply = await site.ask(asked)
            assert reply.header("x-ratelimit-remaining-requests") == str(left)
            assert reply.header("x-ratelimit-limit-tokens") == "9999"
        assert (await site.ask(asked)).status == 429


async def test_a_stream_pays_once(open_site: OpenSite) -> None:
    limits = {"default": {"requests": "5/minute"}}
    flow = stream(EVENT, USAGE, DONE)
    async with guarded_site(answers(flow), fast=True, rateLimits=limits) as site:
        begun, auth = trips(site), bearer((await issue(site)).secret)
        left = [
            (await site.ask(post(CHAT, STREAM, auth))).header(
                "x-ratelimit-remaining-requests"
            )
            for _ in range(3)
        ]
        assert left == ["4", "3", "2"]
        assert begun[1] is not None


async def test_a_key_that_was_edited_finds_a_track_again() -> None:
    async with guarded_site(answers(PLAIN), fast=True) as site:
        begun, issued = trips(site), await issue(site)
        asked = post(CHAT, BODY, bearer(issued.secret))
        for _ in range(2):
            await site.ask(asked)
        table = keyring(site)._table
        row = table.row(issued.row.id)
        table.apply([replace(row, revision=row.revision + 1, name="renamed")])
        for _ in range(3):
            assert (await site.ask(asked)).status == 200
        assert [one is not None for one in begun] == [False, True, False, True, True]
