"""What holds of every engine, and how one of them is chosen."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from proxy.config.schema_policy import ExecuteConfig, ExecuteQueueConfig
from proxy.core.errors import GatewayError
from proxy.sandbox import sandbox as module
from proxy.sandbox.run import EngineName, Outcome
from proxy.sandbox.sandbox import Sandbox, limits_of
from proxy.sandbox.trial import WALLS
from tests.parts.missing import need_module
from tests.parts.sandboxed import Ask, asking, failure, value
from tests.parts.until import until

ADD = "def add(a, b):\n    return a + b"


async def test_the_only_function_is_called_with_the_input(ask: Ask) -> None:
    got = await ask(ADD, a=1, b=2)
    assert (got.result, got.result_type) == (b"3", "int")
    assert (got.stdout, got.stderr, got.truncated) == ("", "", False)
    assert got.duration_ms > 0


async def test_main_is_called_among_several(ask: Ask) -> None:
    got = await ask("def main(x): return twice(x)\ndef twice(x): return 2 * x", x=4)
    assert value(got) == 8


async def test_an_async_function_is_awaited(ask: Ask) -> None:
    code = (
        "import asyncio\nasync def main(x):\n    await asyncio.sleep(0)\n    return x"
    )
    assert value(await ask(code, x=[1, {"a": None}])) == [1, {"a": None}]


async def test_without_a_function_result_is_taken_and_input_is_there(ask: Ask) -> None:
    assert value(await ask("result = a * 2", a="xy")) == "xyxy"
    got = await ask("print('only this')")
    assert (value(got), got.result_type, got.stdout) == (
        None,
        "NoneType",
        "only this\n",
    )


async def test_both_streams_are_told(ask: Ask) -> None:
    got = await ask("import sys\nprint('out')\nprint('err', file=sys.stderr)")
    assert (got.stdout, got.stderr) == ("out\n", "err\n")


async def test_what_is_no_json_comes_as_its_repr_with_its_type(ask: Ask) -> None:
    got = await ask("result = {1, 2}")
    assert (value(got), got.result_type) == ("{1, 2}", "set")
    got = await ask(
        "class Point:\n    def __repr__(self): return 'here'\nresult = Point()"
    )
    assert (value(got), got.result_type) == ("here", "Point")


async def test_long_output_is_cut_and_so_is_a_long_result(ask: Ask) -> None:
    got = await ask("print('x' * 200_000)\nresult = 1")
    assert (len(got.stdout), got.truncated, value(got)) == (65536, True, 1)
    got = await ask("result = 'y' * 200_000")
    assert len(value(got)) < 65536
    assert got.truncated


async def test_an_exception_is_told_with_the_codes_own_traceback(ask: Ask) -> None:
    error = await failure(ask("def f(x):\n    return 1 / x\n", x=0))
    assert (error.code, error.status) == ("execution_error", 400)
    assert error.message == (
        "ZeroDivisionError: division by zero\nTraceback (most recent call last):\n"
        '  File "<code>", line 2, in f\n    return 1 / x'
    )


async def test_a_syntax_error_has_line_and_column(ask: Ask) -> None:
    error = await failure(ask("x = 1\ndef f(:\n"))
    assert error.code == "execution_error"
    assert "SyntaxError" in error.message
    assert "line 2, column 7" in error.message


async def test_input_that_is_missing_is_named(ask: Ask) -> None:
    error = await failure(ask(ADD, a=1))
    assert (error.code, error.param) == ("missing_field", "input.b")


async def test_code_that_does_not_end_is_ended(ask: Ask) -> None:
    error = await failure(ask("while True: pass", timeout_s=0.3))
    assert (error.code, error.status) == ("execution_timeout", 408)
    assert value(await ask("result = 1")) == 1


async def test_the_walls_are_told(ask: Ask) -> None:
    got = await ask("result = 1")
    assert set(got.isolation) >= {"process", "limits", "jail", *WALLS}
    assert ("interpreter" in got.isolation) == (got.engine == "monty")


async def test_runs_do_not_see_each_other(ask: Ask) -> None:
    await ask(
        "import json\nsecret = 'hunter2'\nresult = 1\ntry:\n    json.secret = secret\n"
        "except Exception:\n    pass"
    )
    for code in ("result = secret", "import json\nresult = json.secret"):
        assert (await failure(ask(code))).code == "execution_error"


async def test_no_descriptor_of_the_gateway_goes_along(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    helper = (
        "import os\ndef is_open(n):\n    try:\n        os.fstat(n)\n"
        "    except OSError:\n        return False\n    return True\n"
    )
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        sandbox._engines["cpython"]._pool._ready.clear()
        got = await asking(sandbox, "cpython")(
            helper + "def main():\n    return [n for n in range(3, 60) if is_open(n)]"
        )
    assert len(value(got)) == 1  # the way back


async def test_the_same_run_runs_again_each_time(ask: Ask) -> None:
    code = "import random\nresult = random.random()"
    assert len({value(await ask(code)) for _ in range(3)}) == 3


async def test_whoever_leaves_takes_the_run_along(sandbox: Sandbox, ask: Ask) -> None:
    leaves = asyncio.create_task(ask("while True: pass", timeout_s=30))

    def running() -> int:
        return sum(queue.running for queue in sandbox._queues.values())

    await until(running, "a run")
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    assert not running()
    assert value(await ask("result = 1")) == 1


@pytest.mark.parametrize(
    ("code", "engine"),
    [
        (ADD, "monty"),
        ("import json\ndef f(a, b): return json.dumps([a, b])", "monty"),
        ("def f(a, b):\n    yield a", "cpython"),
        ("import statistics\ndef f(a, b): return statistics.mean([a, b])", "cpython"),
        ("def f(a, b): return sorted(globals())", "cpython"),
        ("class A(dict): pass\ndef f(a, b): return A(a=a)", "cpython"),
        ("def f(a, b):\n    del a\n    return b", "cpython"),
    ],
)
async def test_the_engine_is_chosen_by_what_the_code_needs(
    sandbox: Sandbox, code: str, engine: EngineName
) -> None:
    got = await asking(sandbox, None)(code, a=1, b=2)
    assert got.engine == engine


async def test_choosing_runs_nothing(sandbox: Sandbox) -> None:
    # Were it run by monty first, it would print, and fail there.
    got = await asking(sandbox, None)("print('once')\nimport enum\nresult = 1")
    assert (got.engine, got.stdout) == ("cpython", "once\n")


async def test_a_traceback_has_the_codes_lines_however_it_was_chosen(
    sandbox: Sandbox,
) -> None:
    error = await failure(asking(sandbox, None)("x = 1\ndef f():\n    return 1 / 0"))
    assert error.message.endswith('File "<code>", line 3, in f\n    return 1 / 0')


async def test_an_engine_that_is_asked_for_is_the_one(sandbox: Sandbox) -> None:
    error = await failure(asking(sandbox, "monty")("import enum"))
    assert "enum" in error.message
    assert (await asking(sandbox, "cpython")(ADD, a=1, b=2)).engine == "cpython"


async def nothing(_: object) -> None:
    return None


async def opened(monkeypatch: pytest.MonkeyPatch, **config: Any) -> Sandbox:
    """Make a sandbox on a machine where no jail can be built."""
    monkeypatch.setattr(module, "standing_jail", nothing)
    return Sandbox(ExecuteConfig(enabled=True, **config), lambda _: None)


async def test_without_a_jail_monty_stands_alone_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_module("pydantic_monty")
    async with await opened(monkeypatch) as sandbox:
        got = await asking(sandbox, None)(ADD, a=1, b=2)
        assert (value(got), got.engine) == (3, "monty")
        assert got.isolation == ("interpreter", "process", "limits")
        assert "jail" in sandbox.missing["cpython"]
        error = await failure(asking(sandbox, "cpython")(ADD, a=1, b=2))
        assert (error.code, error.status) == ("not_configured", 501)
        # Nothing else could run it: monty says what it lacks.
        error = await failure(asking(sandbox, None)("def f():\n    yield 1"))
        assert "yield" in error.message


async def test_a_jail_that_is_required_is_not_done_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with await opened(monkeypatch, require_isolation="jail") as sandbox:
        for engine in (None, "monty", "cpython"):
            error = await failure(asking(sandbox, engine)(ADD, a=1, b=2))
            assert error.code == "not_configured"
        assert sandbox.isolation == {}


async def test_without_monty_there_is_no_engine_and_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "find_monty", lambda: None)
    async with await opened(monkeypatch) as sandbox:
        error = await failure(asking(sandbox, None)(ADD))
        assert error.code == "not_configured"
        assert "pydantic-monty" in error.message


async def test_an_engine_that_is_not_allowed_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with await opened(monkeypatch, engines=("monty",)) as sandbox:
        error = await failure(asking(sandbox, "cpython")(ADD))
        assert (error.code, error.param) == ("invalid_field", "engine")


async def test_what_is_off_runs_nothing() -> None:
    async with Sandbox(ExecuteConfig(), lambda _: None) as sandbox:
        error = await failure(asking(sandbox, None)(ADD))
    assert error.code == "not_configured"
    assert "execute.enabled" in error.message


async def test_many_at_once_are_all_served_in_their_turn(sandbox: Sandbox) -> None:
    ask = asking(sandbox, "monty")
    outcomes: Sequence[Outcome] = await asyncio.gather(
        *(ask(ADD, a=number, b=1) for number in range(500))
    )
    assert [value(got) for got in outcomes] == list(range(1, 501))


async def test_more_than_may_wait_are_told_so(jailed: None) -> None:
    config = ExecuteConfig(
        enabled=True, concurrency=1, queue=ExecuteQueueConfig(max_length=1)
    )
    async with Sandbox(config, lambda _: None) as sandbox:
        ask = asking(sandbox, "monty")
        outcomes = await asyncio.gather(
            *(ask(ADD, a=number, b=1) for number in range(5)), return_exceptions=True
        )
    assert [value(got) for got in outcomes if isinstance(got, Outcome)] == [1, 2]
    codes = {got.code for got in outcomes if isinstance(got, GatewayError)}
    assert codes == {"queue_full"}


def test_the_usual_time_is_never_more_than_the_most() -> None:
    limits = limits_of(ExecuteConfig(timeout_seconds=60, max_timeout_seconds=2))
    assert (limits.timeout_s, limits.most_timeout_s) == (2, 2)
