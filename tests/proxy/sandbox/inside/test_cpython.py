"""What only CPython can do, from within its jail."""

from __future__ import annotations

import pytest

from proxy.sandbox.sandbox import Sandbox
from tests.parts.sandboxed import Ask, asking, failure, value


@pytest.fixture
def ask(sandbox: Sandbox) -> Ask:
    return asking(sandbox, "cpython")


async def test_the_standard_library_is_there(ask: Ask) -> None:
    code = """
import collections, dataclasses, decimal, pickle, statistics
@dataclasses.dataclass
class Point:
    x: int
def main(values):
    same = pickle.loads(pickle.dumps(Point(3)))
    return [statistics.mean(values), str(decimal.Decimal('1.10')), same.x]
"""
    assert value(await ask(code, values=[1, 3])) == [2, "1.10", 3]


async def test_files_of_its_own_can_be_used(ask: Ask) -> None:
    code = "open('/tmp/x', 'w').write('kept')\nresult = open('x').read()"
    assert value(await ask(code)) == "kept"
    assert "FileNotFoundError" in (await failure(ask("open('/tmp/x')"))).message


async def test_threads_can_be_used(ask: Ask) -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    result = sum(pool.map(int, '1234'))
"""
    assert value(await ask(code)) == 10


async def test_what_native_code_prints_is_told_too(ask: Ask) -> None:
    got = await ask("import os\nos.write(1, b'native\\n')\nresult = 1")
    assert got.stdout == "native\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os\nos._exit(3)", "exit code 3"),
        ("import ctypes\nctypes.string_at(0)", "signal 11"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("raise SystemExit(2)", "SystemExit: 2"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
async def test_how_it_ended_is_told(ask: Ask, code: str, words: str) -> None:
    error = await failure(ask(code))
    assert error.code == "execution_error"
    assert words in error.message


async def test_an_exception_of_a_library_is_told_by_the_codes_own_lines(
    ask: Ask,
) -> None:
    error = await failure(ask("import json\ndef f():\n    return json.loads('{')"))
    assert 'File "<code>", line 3, in f' in error.message
    assert "decoder.py" not in error.message
    assert "worker" not in error.message


async def test_a_deep_traceback_is_shortened(ask: Ask) -> None:
    error = await failure(ask("def f(): return f()"))
    assert "RecursionError" in error.message
    assert error.message.count("line 1, in f") == 12


async def test_an_exception_that_cannot_be_told_is_named(ask: Ask) -> None:
    code = (
        "class Odd(Exception):\n    def __str__(self): raise SystemExit\n"
        "def f(): raise Odd"
    )
    assert (await failure(ask(code))).message.startswith("Odd\n")


async def test_processor_time_is_limited_by_the_kernel_too(ask: Ask) -> None:
    code = "import resource\nresult = resource.getrlimit(resource.RLIMIT_CPU)"
    assert value(await ask(code, timeout_s=2.5)) == [4, 5]
