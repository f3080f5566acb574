"""What the gateway remembers of its callers is small and nobody else's."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from proxy.routes import ROUTES
from proxy.server.head import HeadReader, HotHead
from tests.parts.http_text import Message, head, post, whole
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site
from tests.parts.scripts import BODY, answers, ask


def reader() -> HeadReader:
    return HeadReader(route for route in ROUTES if route.hot)


def remembered(site: Site) -> list[HotHead]:
    """The heads that the fast door of this gateway knows."""
    return list(site.front._reader._known.values())


# -- its size ----------------------------------------------------------------


def test_a_long_head_is_not_remembered() -> None:
    ours = reader()
    for number in range(100):
        field = f"x-{number}: {'y' * 8000}"
        assert ours.read(post(CHAT, b"{}", field)[:-2]) is not None
    assert not ours._known


@pytest.mark.parametrize(
    "body",
    [
        {"model": "tiny", **dict.fromkeys(map(str, range(5000)))},
        {"model": "tiny", "n" * 5000: None},
        {"model": "far/" + "m" * 5000},
    ],
)
async def test_names_of_a_callers_choice_are_not_remembered(
    open_site: OpenSite, body: dict[str, Any]
) -> None:
    far = {"id": "far", "kind": "openai", "endpoint": "http://127.0.0.1:9/v1"}
    site = await open_site(fast=True, others=[{**far, "authSecret": "sk-far-1234"}])
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    await caller.reply()
    [known] = remembered(site)
    before = len(known.headers.memo)
    for _ in range(2):
        caller.send(post(CHAT, json.dumps(body).encode()))
        await caller.reply()
    assert remembered(site) == [known]
    assert len(known.headers.memo) == before


async def test_ways_to_ask_are_remembered_up_to_a_number(open_site: OpenSite) -> None:
    site = await open_site(fast=True)
    caller = await site.caller()
    for number in range(100):
        body = {"model": "tiny", f"field_{number}": 1}
        caller.send(post(CHAT, json.dumps(body).encode()))
        assert (await caller.reply()).status == 200
    [known] = remembered(site)
    assert len(known.headers.memo) <= 16


# -- whose it is ----------------------------------------------------------------


def sent_fields(site: Site) -> list[dict[str, str]]:
    return [dict(request.headers) for request in site.upstream.requests]


async def test_heads_that_differ_in_little_stay_apart(site: Site) -> None:
    """Requests on one connection, each with a head very like the one before."""
    caller = await site.caller()
    agents = ["a", "b", "a ", "A", "a"]
    for agent in agents:
        caller.send(post(CHAT, BODY, f"user-agent: {agent}", f"x-request-id: {agent}"))
        assert (await caller.reply()).header("x-request-id") == agent.strip()
    assert [sent["user-agent"] for sent in sent_fields(site)] == [
        "a",
        "b",
        "a",
        "A",
        "a",
    ]


async def test_a_page_that_may_not_ask_gets_nothing_from_one_that_may(
    site: Site,
) -> None:
    """The same request by turns from nobody, a permitted and a foreign page."""
    caller = await site.caller()
    good, evil = "origin: http://localhost:8080", "origin: http://evil.example"
    for fields, status, allowed in [
        ((), 200, None),
        ((good,), 200, "http://localhost:8080"),
        ((evil,), 403, None),
        ((good,), 200, "http://localhost:8080"),
        ((), 200, None),
        ((evil,), 403, None),
    ]:
        caller.send(post(CHAT, BODY, *fields))
        reply = await caller.reply()
        assert reply.status == status
        assert reply.header("access-control-allow-origin") == allowed
    assert len(site.upstream.requests) == 4


async def test_a_length_is_its_own_requests(site: Site) -> None:
    """A head is remembered without its length: another's must not stick to it."""
    caller = await site.caller()
    bodies = [json.dumps({"model": "tiny", "n": "x" * n}).encode() for n in (9, 0, 99)]
    for body in bodies:
        caller.send(post(CHAT, body))
        assert (await caller.reply()).status == 200
    assert [request.body for request in site.upstream.requests] == bodies


async def test_an_upstreams_head_is_remembered_for_its_own_replies(
    site: Site,
) -> None:
    """The same head again with another length, by way of both kinds of route."""
    fields = ("content-type: application/json", "server: box", "x-kept: 1")
    other = b'{"object":"chat.completion","choices":[],"longer":"than the first"}'
    site.upstream.script = answers(*(
        head(200, *fields, f"content-length: {len(body)}") + body
        for body in (COMPLETION, other, COMPLETION, other)
    ))  # fmt: skip
    caller = await site.caller()
    replies: list[Message] = []
    for path in (CHAT, CHAT, f"/providers/box{CHAT}", CHAT):
        caller.send(post(path, BODY))
        replies.append(await caller.reply())
    assert [reply.body for reply in replies] == [COMPLETION, other, COMPLETION, other]
    assert [reply.header("server") for reply in replies] == [None, None, "box", None]
    assert all(reply.header("x-kept") == "1" for reply in replies)


async def test_replies_at_once_are_nobody_elses(site: Site) -> None:
    """Whole replies to different callers at once, each with its own request id."""

    async def tell(name: str) -> tuple[str, str | None]:
        body = json.dumps({"model": "tiny", "user": name}).encode()
        reply = await site.ask(post(CHAT, body, f"x-request-id: {name}"))
        return json.loads(reply.body)["user"], reply.header("x-request-id")

    site.upstream.script = _echo
    names = [f"caller-{number}" for number in range(20)]
    told = await asyncio.gather(*map(tell, names))
    assert told == [(name, name) for name in names]


async def _echo(peer: Any, request: Message) -> None:
    await peer.send(whole(request.body))


async def test_a_preflight_answers_for_its_own_origin(site: Site) -> None:
    for origin, allowed in [
        ("http://localhost:1", "http://localhost:1"),
        ("http://evil.example", None),
        ("http://localhost:2", "http://localhost:2"),
    ]:
        fields = (f"origin: {origin}", "access-control-request-method: POST")
        reply = await site.ask(ask("OPTIONS", CHAT, *fields))
        assert reply.header("access-control-allow-origin") == allowed
