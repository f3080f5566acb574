"""What is special about monty: its processes serve many runs."""

from __future__ import annotations

import asyncio

import pytest

from proxy.sandbox.sandbox import Sandbox
from tests.parts.sandboxed import Ask, asking, failure, value


@pytest.fixture
def ask(sandbox: Sandbox) -> Ask:
    return asking(sandbox, "monty")


async def test_names_of_one_run_are_unknown_to_the_next(ask: Ask) -> None:
    await ask("secret = 1\ndef f(x): return x", x=1)
    for name in ("secret", "f", "_local_ai_input", "_local_ai_value"):
        assert "NameError" in (await failure(ask(f"result = {name}"))).message


async def test_only_what_the_code_printed_is_told(ask: Ask) -> None:
    assert (await ask("print('one')")).stdout == "one\n"
    assert (await ask("result = 1")).stdout == ""


async def test_memory_is_limited_and_the_next_run_has_all_of_it(ask: Ask) -> None:
    assert "MemoryError" in (await failure(ask("x = [0] * 10**9"))).message
    assert value(await ask("result = len([0] * 10**6)")) == 10**6


async def test_sleeping_past_the_limit_is_ended(ask: Ask) -> None:
    code = "import time\ntime.sleep(60)"
    assert (await failure(ask(code, timeout_s=0.3))).code == "execution_timeout"


async def test_there_are_no_files(ask: Ask) -> None:
    for code in ("open('/etc/passwd')", "import os\nos.listdir('/')"):
        assert "PermissionError" in (await failure(ask(code))).message


async def test_a_function_that_is_no_function_any_more_is_told(ask: Ask) -> None:
    error = await failure(ask("def f(): return 1\nf = 3"))
    assert "TypeError" in error.message


async def test_what_a_run_leaves_waiting_is_ended_with_it(ask: Ask) -> None:
    code = """
import asyncio
async def main():
    asyncio.create_task(asyncio.sleep(60)) if hasattr(asyncio, 'create_task') else 0
    return 1
"""
    async with asyncio.timeout(5):
        assert value(await ask(code)) == 1
