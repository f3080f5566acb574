"""The configuration in force, and taking it anew, through a whole gateway."""

from __future__ import annotations

import json
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from tests.parts.http_text import post
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site, open_site, run_site
from tests.parts.owner import steer, told
from tests.parts.scripts import BODY, ask, error_of

__all__ = ["open_site"]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with run_site() as opened:
        yield opened


async def test_the_configuration_in_force_is_shown_without_secrets(
    open_site: OpenSite,
) -> None:
    site = await open_site(provider={"authSecret": "hunter2-secret-key"})
    shown = await told(site, "GET", "/config")
    assert shown["file"] == str(site.runtime.loaded.file)
    assert shown["config"]["providers"][0]["keys"] == ["***"]
    assert shown["config"]["server"]["drainSeconds"] == 30
    assert shown["sources"]["server.drainSeconds"] == "default"
    assert shown["sources"]["server.port"].startswith(shown["file"])
    assert "hunter2" not in json.dumps(shown["config"] | shown["sources"])


async def test_a_reload_tells_what_it_took_and_what_needs_a_restart(site: Site) -> None:
    server = site.content["server"] | {"drainSeconds": 7, "port": 4000}
    site.rewrite(site.content | {"server": server})
    outcome = await told(site, "POST", "/reload")
    assert outcome["status"] == "ok"
    assert outcome["needs_restart"] == ["server.port"]
    shown = await told(site, "GET", "/config")
    assert shown["config"]["server"]["drainSeconds"] == 7
    assert shown["config"]["server"]["port"] == 0


async def test_a_bad_file_changes_nothing_and_every_problem_is_told(site: Site) -> None:
    before = await told(site, "GET", "/config")
    wrong = {"server": {"port": "x", "prot": 1}, "providers": [{"id": "a"}]}
    site.rewrite(wrong)
    reply = await steer(site, "POST", "/reload")
    assert (reply.status, error_of(reply)["code"]) == (400, "invalid_config")
    problems = json.loads(reply.body)["problems"]
    assert {"server.port", "server.prot"} <= {problem["path"] for problem in problems}
    assert "Nothing has changed" in error_of(reply)["message"]
    assert await told(site, "GET", "/config") == before
    ready = json.loads((await site.ask(ask("GET", "/readyz"))).body)
    assert ready["last_reload"]["status"] == "failed"
    assert ready["last_reload"]["problems"] == problems
    assert (await site.ask(post(CHAT, BODY))).body == COMPLETION
