"""Budgets on the wire: 402, what a stream really cost, and what is still free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.limits.spending import NANO, Spending
from proxy.state.money import Account
from tests.parts.http_text import Message, head, post, whole
from tests.parts.inside import CHAT, Site
from tests.parts.keys import bearer, guarded_site, issue
from tests.parts.postgres import Postgres, postgres
from tests.parts.scripts import (
    DONE,
    EVENT,
    USAGE,
    answers,
    error_of,
    stream,
    then_wait,
)
from tests.parts.until import until
from tests.parts.valkey import valkey

ANSWER = (
    b'{"object":"chat.completion","choices":[{"index":0}],'
    b'"usage":{"prompt_tokens":0,"completion_tokens":25}}'
)
# A token of an answer costs a cent, one of a prompt nothing.
PRICED = {"pricing": {"inputPer1M": 0, "outputPer1M": 10_000}}
MODELS = [
    {"id": "dear", "providerId": "box", **PRICED},
    {"id": "free", "providerId": "box"},
    {"id": "rising", "providerId": "cloud", "fallbacks": ["free"], **PRICED},
    {"id": "unpriced", "providerId": "far"},
    {
        "id": "sinking",
        "providerId": "cloud",
        "fallbacks": ["unpriced", "dear"],
        **PRICED,
    },
]


@asynccontextmanager
async def opened(*replies: bytes, **sections: Any) -> AsyncIterator[Site]:
    # Nobody answers there.
    cloud = {
        "kind": "openai-compatible",
        "type": "cloud",
        "endpoint": "http://127.0.0.1:9",
    }
    async with guarded_site(
        answers(*(replies or (whole(ANSWER),))),
        models=MODELS,
        others=[{"id": id_, **cloud} for id_ in ("cloud", "far")],
        **sections,
    ) as site:
        yield site


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with opened() as made:
        yield made


def asking(key: str, model: str = "dear", tokens: int = 50, **more: Any) -> bytes:
    streamed = b',"stream":true' if more.get("stream") else b""
    body = b'{"model":"%b","messages":[],"max_tokens":%d%b}'
    return post(CHAT, body % (model.encode(), tokens, streamed), bearer(key))


def books(site: Site) -> Spending:
    return site.runtime.allowance._budgets._counters


def spent(site: Site, key_id: str) -> float:
    return books(site).spent(Account("key", key_id))[0] / NANO


def is_refused(reply: Message) -> bool:
    return (reply.status, error_of(reply)["code"]) == (402, "budget_exceeded")


async def test_a_budget_ends_with_402_until_midnight(site: Site) -> None:
    key = await issue(site, daily_usd=1.0)
    statuses = [(await site.ask(asking(key.secret))).status for _ in range(3)]
    # A quarter of a dollar each; half is set aside.
    assert statuses == [200, 200, 200]
    refused = await site.ask(asking(key.secret))
    assert is_refused(refused)
    assert 0 < int(refused.header("retry-after") or 0) <= 86_400
    assert (await site.ask(asking(key.secret, tokens=25))).status == 200
    assert spent(site, key.row.id) == pytest.approx(1.0)
    assert is_refused(await site.ask(asking(key.secret, tokens=1)))
    assert (await site.record()).code == "budget_exceeded"


async def test_other_keys_and_free_models_go_on(site: Site) -> None:
    key = await issue(site, daily_usd=0.0)
    assert is_refused(await site.ask(asking(key.secret)))
    assert (await site.ask(asking(key.secret, "free"))).status == 200
    other = await issue(site, "other")
    assert (await site.ask(asking(other.secret))).status == 200


async def test_without_money_only_what_is_free_is_asked(site: Site) -> None:
    key = await issue(site, daily_usd=0.1)
    reply = await site.ask(asking(key.secret, "rising"))
    assert reply.status == 200
    assert reply.header("x-proxy-model") == "free"
    assert [one.provider for one in (await site.record()).attempts] == ["box"]


async def test_an_unpriced_model_is_refused_and_no_fallback_either() -> None:
    async with opened(routing={"retry": {"budgetRatio": 1}}) as site:
        key = await issue(site, daily_usd=10.0)
        reply = await site.ask(asking(key.secret, "unpriced"))
        assert is_refused(reply)
        assert error_of(reply)["param"] == "model"
        assert (await site.ask(asking(key.secret, "sinking"))).status == 200
        asked = [one.provider for one in site.records[-1].attempts]
        assert asked == ["cloud", "box"]


async def test_a_tenant_is_held_with_all_its_keys() -> None:
    budgets = {"byTenant": {"team": {"monthlyUsd": 0.75}}}
    async with opened(budgets=budgets) as site:
        keys = [await issue(site, name, tenant="team") for name in "ab"]
        assert (await site.ask(asking(keys[0].secret))).status == 200
        assert (await site.ask(asking(keys[1].secret))).status == 200
        assert is_refused(await site.ask(asking(keys[0].secret)))
        other = await issue(site, "c", tenant="other")
        assert (await site.ask(asking(other.secret))).status == 200


async def test_a_stream_is_settled_by_what_it_says_it_used() -> None:
    async with opened(stream(EVENT, USAGE, DONE)) as site:
        key = await issue(site, daily_usd=1.0)
        reply = await site.ask(asking(key.secret, tokens=100, stream=True))
        assert reply.status == 200
        assert spent(site, key.row.id) == pytest.approx(0.05)


async def test_who_leaves_is_given_back_what_was_set_aside(site: Site) -> None:
    site.upstream.script = then_wait(head(200))
    key = await issue(site, daily_usd=1.0)
    caller = await site.caller()
    caller.send(asking(key.secret, tokens=100, stream=True))
    await site.busy_peer()
    assert is_refused(await site.ask(asking(key.secret, tokens=1)))
    caller.leave()
    await until(lambda: len(site.records) == 2, "the one that left")
    assert spent(site, key.row.id) == 0.0  # no price on prompts
    assert books(site).spent(Account("key", key.row.id))[2] == 0


async def test_a_crowd_overshoots_by_no_more_than_was_in_flight(site: Site) -> None:
    key = await issue(site, daily_usd=1.0)
    replies = await asyncio.gather(
        *(site.ask(asking(key.secret, tokens=25)) for _ in range(30))
    )
    assert sum(reply.status == 200 for reply in replies) == 4
    assert spent(site, key.row.id) == pytest.approx(1.0)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_what_was_spent_before_the_start_counts(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    if engine == "postgresql":
        server: Postgres = request.getfixturevalue("server")
        url = server.new_database()
    async with opened(records=True, database={"url": url}) as first:
        key = await issue(first, daily_usd=0.5)
        other = await issue(first, "other", daily_usd=0.5)
        for _ in range(2):
            assert (await first.ask(asking(key.secret, tokens=25))).status == 200
        assert first.runtime.records is not None
        assert await first.runtime.records.ledger.drain()
        # Beside it, as another process would be.
        async with opened(records=True, database={"url": url}) as second:
            assert is_refused(await second.ask(asking(key.secret, tokens=25)))
            assert (await second.ask(asking(other.secret, tokens=25))).status == 200
            assert second.runtime.records is not None
            assert await second.runtime.records.ledger.drain()
            assert spent(first, other.row.id) == 0.0
            assert (await first.ask(asking(other.secret, tokens=25))).status == 200
            await books(first).refresh()
            assert is_refused(await first.ask(asking(other.secret, tokens=25)))


async def test_gateways_that_share_a_state_spend_one_budget(tmp_path: Path) -> None:
    """Each asks for half a dollar at most; what it spends is a quarter."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    with valkey() as server:
        shared = {"database": {"url": url}, "state": {"url": server.new_database()}}
        async with opened(records=True, **shared) as first:
            key = await issue(first, daily_usd=3.0)
            async with opened(records=True, **shared) as second:
                sites = (first, second)
                replies = await asyncio.gather(
                    *(sites[n % 2].ask(asking(key.secret)) for n in range(40))
                )
                served = sum(reply.status == 200 for reply in replies)
                assert 6 <= served <= 11
                assert all(r.status == 200 or is_refused(r) for r in replies)
                for n in range(12 - served):
                    reply = await sites[n % 2].ask(asking(key.secret, tokens=25))
                    assert reply.status == 200
                for site in sites:
                    assert is_refused(await site.ask(asking(key.secret, tokens=1)))
                    assert spent(site, key.row.id) == pytest.approx(3.0)
