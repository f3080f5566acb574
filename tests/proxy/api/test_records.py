"""What is kept of requests, as the owner asks for it, through a whole gateway."""

from __future__ import annotations

import json
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from tests.parts.http_text import chunk, event_stream_head, post, whole
from tests.parts.inside import CHAT, TOKEN, OpenSite, Site, open_site, run_site
from tests.parts.owner import steer, told
from tests.parts.scripts import BODY, EVENT, answers, ask, error_of, then_close

__all__ = ["open_site"]

ANSWER = (
    b'{"object":"chat.completion","choices":[{"index":0}],'
    b'"usage":{"prompt_tokens":100,"completion_tokens":20}}'
)
PRICED = {"pricing": {"inputPer1M": 1.0, "outputPer1M": 10.0}}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with run_site(
        answers(whole(ANSWER)),
        records=True,
        models=[{"id": "tiny", "providerId": "box", **PRICED}],
        metrics={"currency": {"code": "EUR", "perUsd": 0.5}},
    ) as opened:
        yield opened


async def ask_for(site: Site, count: int, *headers: str) -> None:
    for _ in range(count):
        assert (await site.ask(post(CHAT, BODY, *headers))).status == 200
    await stored(site)


async def stored(site: Site) -> None:
    assert site.runtime.records is not None
    assert await site.runtime.records.ledger.drain()


async def test_a_request_is_kept_with_its_cost_and_its_attempts(site: Site) -> None:
    await ask_for(site, 1, "x-request-id: theirs", "user-agent: OpenAI/Python")
    (row,) = (await told(site, "GET", "/requests"))["requests"]
    expected: dict[str, Any] = {
        "client_request_id": "theirs",
        "tenant": "default",
        "endpoint": "chat",
        "dialect": "openai-chat",
        "model": "tiny",
        "provider": "box",
        "status": 200,
        "stream": False,
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "usage_source": "upstream",
        "cost_usd": 0.0003,
        "cost": 0.00015,
        "currency": "EUR",
    }
    assert {name: row[name] for name in expected} == expected
    assert [one["provider"] for one in row["attempts"]] == ["box"]
    assert await told(site, "GET", f"/requests/{row['id']}") == row
    assert await told(site, "GET", "/requests/theirs") == row
    assert (await steer(site, "GET", "/requests/req_none")).status == 404


async def test_pages_follow_each_other_and_filters_choose(site: Site) -> None:
    await ask_for(site, 5)
    assert (await site.ask(post(CHAT, b'{"model":"none","messages":[]}'))).status == 404
    await stored(site)
    seen: list[str] = []
    path = "/requests?status=ok&model=tiny&since=1h&limit=2"
    cursor = ""
    while cursor is not None:
        page = await told(site, "GET", path + (f"&cursor={cursor}" if cursor else ""))
        seen += [row["id"] for row in page["requests"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 5
    (failed,) = (await told(site, "GET", "/requests?status=error"))["requests"]
    assert failed["code"] == "model_not_found"
    assert (await told(site, "GET", "/requests?since=2099-01-01"))["requests"] == []


async def test_usage_adds_up(site: Site) -> None:
    await ask_for(site, 3)
    answer = await told(site, "GET", "/usage?by=tenant,model")
    (row,) = answer["usage"]
    assert (row["tenant"], row["model"], row["requests"]) == ("default", "tiny", 3)
    assert (row["prompt_tokens"], row["cost_usd"]) == (300, 0.0009)
    (day,) = (await told(site, "GET", "/usage/daily"))["usage"]
    assert day["requests"] == answer["total"]["requests"] == 3


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/requests?limit=0", "limit"),
        ("/requests?status=odd", "status"),
        ("/requests?since=yesterday", "since"),
        ("/requests?cursor=x", "cursor"),
        ("/requests?modle=x", "modle"),
        ("/usage?by=colour", "by"),
        ("/usage?status=200", "status"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    site: Site, path: str, param: str
) -> None:
    reply = await steer(site, "GET", path)
    assert reply.status == 400
    assert error_of(reply)["param"] == param


async def test_who_watches_sees_requests_as_they_finish(site: Site) -> None:
    caller = await site.caller()
    caller.send(ask("GET", "/admin/requests/stream", f"authorization: Bearer {TOKEN}"))
    await caller.until(b": nothing yet")
    assert (await site.ask(post(CHAT, BODY))).status == 200
    seen = await caller.until(b'"attempts":[{"provider":"box"')
    row = json.loads(seen.partition(b"data: ")[2].partition(b"\n\n")[0])
    assert (row["model"], row["status"], row["cost"]) == ("tiny", 200, 0.00015)
    caller.leave()


async def test_readiness_and_metrics_tell_of_the_ledger(site: Site) -> None:
    assert (await site.ask(post(CHAT, BODY))).status == 200
    ready = json.loads((await site.ask(ask("GET", "/readyz"))).body)
    assert ready["database"]["status"] == "ok"
    assert ready["database"]["lost_records"] == 0
    metrics = (await site.ask(ask("GET", "/metrics"))).body.decode()
    assert "local_ai_ledger_database_up 1.0" in metrics
    assert 'local_ai_cost_usd_total{model="tiny",provider="box"} 0.0003' in metrics
    assert 'local_ai_cost_total{model="tiny",provider="box"} 0.00015' in metrics


async def test_without_records_the_routes_say_so(open_site: OpenSite) -> None:
    site = await open_site()
    for path in ("/requests", "/requests/req_1", "/usage", "/usage/daily"):
        reply = await steer(site, "GET", path)
        assert (reply.status, error_of(reply)["code"]) == (501, "not_configured")


async def test_imported_prices_hold_from_the_next_reload_on(
    open_site: OpenSite,
) -> None:
    site = await open_site(
        answers(whole(ANSWER)),
        records=True,
        provider={"kind": "openai", "type": "cloud", "authSecret": "sk-long-enough"},
    )
    await ask_for(site, 1)
    (row,) = (await told(site, "GET", "/requests"))["requests"]
    assert (row["cost_usd"], row["usage_source"]) == (None, "upstream")
    entry = {"litellm_provider": "openai", "mode": "chat"}
    costs = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}
    folder = site.runtime.config.data_dir
    (folder / "prices.json").write_text(json.dumps({"tiny": entry | costs}))
    assert (await told(site, "POST", "/reload"))["status"] == "ok"
    await ask_for(site, 1)
    newest, _ = (await told(site, "GET", "/requests"))["requests"]
    assert newest["cost_usd"] == 0.0003
    total = (await told(site, "GET", "/usage"))["total"]
    assert (total["unpriced"], total["cost_usd"]) == (1, 0.0003)


STREAMED = b'{"model":"tiny","messages":[],"stream":true,"user":"bob"}'


async def test_what_a_stream_has_used_that_broke_off_is_an_estimate(
    open_site: OpenSite,
) -> None:
    site = await open_site(
        then_close(event_stream_head() + b"".join(map(chunk, [EVENT] * 8))),
        records=True,
        models=[{"id": "tiny", "providerId": "box", **PRICED}],
    )
    await site.ask(post(CHAT, STREAMED))
    await stored(site)
    (row,) = (await told(site, "GET", "/requests"))["requests"]
    assert (row["usage_source"], row["code"]) == ("estimate", "upstream_stream_broken")
    assert row["prompt_tokens"] == len(STREAMED) // 4
    assert row["completion_tokens"] == 7
    assert row["cost_usd"] == pytest.approx((len(STREAMED) // 4 + 70) / 1e6)
    assert row["end_user"] == "bob"
    assert (await told(site, "GET", "/usage"))["total"]["estimated"] == 1


@pytest.mark.parametrize("fast", [False, True])
async def test_who_asked_and_with_what_is_kept_on_each_way(
    open_site: OpenSite, fast: bool
) -> None:
    site = await open_site(answers(whole(ANSWER)), records=True, fast=fast)
    for user in ("bob", "alice"):
        body = b'{"model":"tiny","messages":[],"user":"%b"}' % user.encode()
        await site.ask(post(CHAT, body, "user-agent: OpenAI/Python"))
    await stored(site)
    rows = (await told(site, "GET", "/requests"))["requests"]
    assert [row["end_user"] for row in rows] == ["alice", "bob"]
    assert {row["user_agent"] for row in rows} == {"OpenAI/Python"}
    assert {row["dialect"] for row in rows} == {"openai-chat"}
