"""Sandboxes for the tests, on the loop that production has."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from proxy.config.schema_policy import ExecuteConfig
from proxy.sandbox.jail import find_jails
from proxy.sandbox.run import ENGINES, EngineName
from proxy.sandbox.sandbox import Sandbox
from proxy.sandbox.trial import standing_jail
from tests.parts.missing import missing_part, need_module, need_program
from tests.parts.sandboxed import Ask, asking


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def jailed() -> None:
    """Skip where no jail can be built."""
    need_module("pydantic_monty")
    need_program("bwrap")
    if await standing_jail(find_jails()) is None:
        missing_part("user namespaces, which bwrap needs")


@pytest.fixture
async def sandbox(jailed: None) -> AsyncIterator[Sandbox]:
    """Both engines, each in a jail."""
    faults: list[BaseException] = []
    async with Sandbox(ExecuteConfig(enabled=True), faults.append) as opened:
        yield opened
    assert faults == []


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


@pytest.fixture
def ask(sandbox: Sandbox, engine: EngineName) -> Ask:
    """Run code on one engine, then on the other."""
    return asking(sandbox, engine)
