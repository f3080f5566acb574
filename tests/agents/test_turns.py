"""Real coding agents through the gateway: a turn with a tool, at every provider.

`bin/test -m agents`: it installs them into the user's cache folder, a gigabyte. What a
provider says is scripted: read a file, then a last word. That an agent ends well
proves little; what the gateway and the provider saw is looked at.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.fakes.anthropic import NEWEST, OLDER
from tests.fakes.talk import TEXT
from tests.parts.agents import AGENTS, MODEL, Agent, run_agent
from tests.parts.inside import Site, run_site
from tests.parts.llama import llama
from tests.parts.npm import AGENTS as PACKAGES
from tests.parts.npm import npm_folder
from tests.proxy.dialects.test_matrix import KINDS, Kind

__all__ = ["llama"]

pytestmark = [pytest.mark.agents, pytest.mark.timeout(600)]
SECRET = "the word is quinquereme"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def packages() -> Path:
    return npm_folder(PACKAGES, timeout_s=500)


@pytest.fixture(params=AGENTS)
def agent(request: pytest.FixtureRequest) -> Agent:
    return AGENTS[request.param]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text(SECRET)
    return folder


@asynccontextmanager
async def before(kind: Kind, model: str) -> AsyncIterator[tuple[Site, Any]]:
    """A gateway in front of one scripted provider, and that provider."""
    fake = kind.fake()
    entry: dict[str, Any] = {"id": MODEL, "providerId": "box", "upstreamModel": model}
    if kind.kind == "ollama":
        entry["params"] = {"set": {"num_ctx": 65536}}  # its own API is chosen by this
    async with fake.serving():
        headers = {"x-api-key": kind.key or "x", "x-goog-api-key": kind.key or "x"}
        provider = {"kind": kind.kind, "endpoint": fake.url, "headers": headers}
        async with run_site(provider=provider, models=[entry], fast=True) as site:
            yield site, fake


@pytest.mark.parametrize("name", KINDS)
async def test_a_turn_with_a_tool(
    agent: Agent, name: str, packages: Path, home: Path, work: Path
) -> None:
    kind, file = KINDS[name], work / "notes.txt"
    # Of Anthropic's, the one whose thinking Claude Code asks for.
    model = NEWEST if kind.kind == "anthropic" else kind.model
    async with before(kind, model) as (site, fake):
        fake.call_only(*agent.reads(file))
        ended = await run_agent(agent, packages, home, work, site.url, asks(file))
        assert ended.code == 0, ended
        assert TEXT in ended.stdout, ended
        turns = [turn for turn in site.records if turn.operation == agent.operation]
        assert [turn.code for turn in turns] == [None] * len(turns), ended
        assert all(turn.stream and turn.prompt_tokens for turn in turns)
        asked = [
            received.body.decode()
            for received in fake.of_path(fake.talk_path(model, stream=True))
        ]
        doors = site.runtime.metrics._counts.doors
        assert doors[True, "hot"].count == len(site.records)
    assert len(turns) == len(asked) >= 2
    assert SECRET in asked[-1]
    assert SECRET not in asked[0]


async def test_claude_code_learns_what_an_older_model_refuses(
    packages: Path, home: Path, work: Path
) -> None:
    agent, file = AGENTS["claude"], work / "notes.txt"
    async with before(KINDS["anthropic"], OLDER) as (site, fake):
        fake.call_only(*agent.reads(file))
        ended = await run_agent(agent, packages, home, work, site.url, asks(file))
        assert TEXT in ended.stdout, ended
        *refused, called, told = site.records
    assert {one.code for one in refused} == {"invalid_field"}
    assert (called.status, told.status) == (200, 200)


LIMITS = {"messages": "max_tokens", "chat": "max_tokens"}


async def test_a_real_model_server_is_asked_and_streams(
    agent: Agent, llama: str, packages: Path, home: Path, work: Path
) -> None:
    limit = LIMITS.get(agent.operation, "max_output_tokens")
    entry = {
        "id": MODEL,
        "providerId": "box",
        "upstreamModel": "tiny",
        "params": {"set": {limit: 16}},  # it would talk nonsense for ever
    }
    provider = {"kind": "llamacpp", "endpoint": llama}
    async with run_site(provider=provider, models=[entry], fast=True) as site:
        ended = await run_agent(agent, packages, home, work, site.url, "Say something.")
        turns = [turn for turn in site.records if turn.operation == agent.operation]
    assert turns, ended
    assert {turn.code for turn in turns} == {None}, ended
    # The prompts of agents are long, and are counted by who has read them.
    assert max(turn.prompt_tokens or 0 for turn in turns) > 4000
    assert all(turn.stream and turn.completion_tokens for turn in turns)


def asks(file: Path) -> str:
    return f"Read {file} and tell me what is in it."
