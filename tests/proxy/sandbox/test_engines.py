"""How processes are used: kept or not, and never again after a failure."""

from __future__ import annotations

import pytest

from proxy.sandbox.engines import Engine
from proxy.sandbox.process import Died
from proxy.sandbox.run import Run
from proxy.sandbox.sandbox import Sandbox

ADD = Run("def add(a, b):\n    return a + b", {"a": 1, "b": 2}, 5.0)
ENDLESS = Run("while True: pass", {}, 0.2)


@pytest.fixture
def monty(sandbox: Sandbox) -> Engine:
    return sandbox._engines["monty"]


@pytest.fixture
def cpython(sandbox: Sandbox) -> Engine:
    return sandbox._engines["cpython"]


async def test_monty_keeps_its_process(monty: Engine) -> None:
    await monty.run(ADD, only_if_able=False)
    kept = list(monty._pool._ready)
    await monty.run(ADD, only_if_able=True)
    assert monty._pool._ready == kept


async def test_a_process_of_cpython_serves_one_run(cpython: Engine) -> None:
    first = await cpython._pool.take()
    cpython._pool.give_back(first)
    await cpython.run(ADD, only_if_able=False)
    assert not first.is_alive
    assert first not in cpython._pool._all


@pytest.mark.parametrize("name", ["monty", "cpython"])
async def test_a_run_that_did_not_end_takes_its_process_along(
    sandbox: Sandbox, name: str
) -> None:
    engine = sandbox._engines[name]  # type: ignore[index]
    process = await engine._pool.take()
    engine._pool.give_back(process)
    with pytest.raises(TimeoutError):
        await engine.run(ENDLESS, only_if_able=False)
    await process.ended()
    assert not process.is_alive
    reply = await engine.run(ADD, only_if_able=False)
    assert (reply["kind"], reply["result"]) == ("result", "3")


async def test_a_process_that_died_is_replaced(cpython: Engine) -> None:
    with pytest.raises(Died):
        await cpython.run(Run("import os\nos._exit(1)", {}, 5.0), only_if_able=False)
    reply = await cpython.run(ADD, only_if_able=False)
    assert reply["result"] == "3"
    assert reply["duration_ms"] > 0


async def test_code_that_needs_more_is_not_run(monty: Engine) -> None:
    run = Run("print(1)\nimport enum", {}, 5.0)
    reply = await monty.run(run, only_if_able=True)
    assert (reply["kind"], reply["what"]) == ("lacks", "the module enum")
