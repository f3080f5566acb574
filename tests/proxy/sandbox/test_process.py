"""Real processes of a few lines, well-behaved and not."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.sandbox.jail import Command
from proxy.sandbox.process import Died, Process
from tests.parts.until import until

OPENING = """
import json, os, subprocess, sys, time
told = json.loads(sys.argv[1])
def send(data): os.write(told["replies"], len(data).to_bytes(4, "big") + data)
def receive():
    size = int.from_bytes(sys.stdin.buffer.read(4), "big")
    return json.loads(sys.stdin.buffer.read(size))
"""
READY = OPENING + """send(b'{"kind": "ready"}')\njob = receive()\n"""


def command(script: str, **more: bytes) -> Command:
    arguments = (sys.executable, "-I", "-S", "-c", script, "{settings}", "{filter}")
    return Command(arguments, more.get("filter_"), None)


@asynccontextmanager
async def started(script: str, output: int = 100) -> AsyncIterator[Process]:
    process = await Process.start(command(script), {}, output)
    try:
        yield process
    finally:
        process.kill()
        await process.ended()


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # One that nobody has waited for yet is a name without a process.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_job_goes_there_and_its_reply_comes_back() -> None:
    async with started(READY + "send(json.dumps({'got': job}).encode())") as process:
        assert process.is_alive
        assert await process.ask(b'{"a": [1]}') == {"got": {"a": [1]}}


async def test_a_large_job_arrives_whole() -> None:
    script = READY + "send(json.dumps({'size': len(job)}).encode())"
    async with started(script) as process:
        assert await process.ask(b'"' + b"x" * 3_000_000 + b'"') == {"size": 3_000_000}


async def test_nothing_of_the_environment_goes_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_GATEWAY", "hunter2")
    script = READY + "send(json.dumps(dict(os.environ)).encode())"
    async with started(script) as process:
        assert "SECRET_OF_THE_GATEWAY" not in await process.ask(b"{}")


async def test_the_filter_can_be_read() -> None:
    script = OPENING + (
        "text = os.read(int(sys.argv[2]), 100).decode()\n"
        'send(b\'{"kind": "ready"}\')\nreceive()\n'
        "send(json.dumps({'filter': text}).encode())"
    )
    process = await Process.start(command(script, filter_=b"program"), {}, 10)
    try:
        assert await process.ask(b"{}") == {"filter": "program"}
    finally:
        process.kill()
        await process.ended()


async def test_what_is_printed_is_kept_up_to_the_limit() -> None:
    script = READY + (
        "sys.stdout.write('o' * 99); sys.stderr.write('e' * 5_000_000)\n"
        "sys.stdout.flush(); sys.stderr.flush(); send(b'{}')"
    )
    async with started(script) as process:
        await process.ask(b"{}")
        process.kill()
        await process.ended()
        assert process.output == ("o" * 99, "e" * 100, True)


@pytest.mark.parametrize(
    "misdeed",
    [
        "send(b'no json')",
        "send(b'[1]')",
        "os.write(told['replies'], b'\\xff\\xff\\xff\\xff')",
        "os.write(told['replies'], b'\\0\\0')",
        "os.close(told['replies'])",
        "sys.exit(0)",
    ],
)
async def test_nonsense_is_the_end_of_it(misdeed: str) -> None:
    async with started(f"{READY}{misdeed}") as process:
        with pytest.raises(Died):
            await process.ask(b"{}")


async def test_how_it_died_is_told() -> None:
    async with started(READY + "os._exit(7)") as process:
        with pytest.raises(Died) as caught:
            await process.ask(b"{}")
        assert caught.value.code == 7
        assert not process.is_alive


@pytest.mark.parametrize("script", ["raise SystemExit(1)", "import nothing_like_it"])
async def test_one_that_never_gets_ready_died(script: str) -> None:
    with pytest.raises(Died):
        await Process.start(command(script), {}, 10)


async def test_a_first_word_that_is_not_ready_is_none() -> None:
    with pytest.raises(Died):
        await Process.start(command(OPENING + "send(b'{}'); receive()"), {}, 10)


async def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError):
        await Process.start(Command(("/nonexistent/program",), None, None), {}, 10)


async def test_a_start_that_is_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    # A child of its own, as bubblewrap has one while it builds.
    script = (
        "import os, pathlib, sys, time\nos.fork()\n"
        f"(pathlib.Path({str(tmp_path)!r}) / str(os.getpid())).touch()\ntime.sleep(60)"
    )
    starts = asyncio.create_task(Process.start(command(script), {}, 10))

    def pids() -> list[int]:
        return [int(file.name) for file in tmp_path.iterdir()]

    await until(lambda: len(pids()) == 2, "two processes")
    starts.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starts
    await until(lambda: all(map(is_gone, pids())), "their end")


async def test_killing_ends_its_children_too() -> None:
    script = READY + (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "send(json.dumps({'child': child.pid}).encode()); time.sleep(60)"
    )
    async with started(script) as process:
        child = (await process.ask(b"{}"))["child"]
        assert not is_gone(child)
        process.kill()
        process.kill()  # once more is nothing
        await until(lambda: is_gone(child), "the end of the child")
        await process.ended()
        assert not process.is_alive


async def test_leaving_no_descriptors_behind() -> None:
    async with started(READY):
        pass
    before = open_descriptors()
    for _ in range(5):
        async with started(READY):
            pass
        with pytest.raises(Died):
            await Process.start(command("raise SystemExit"), {}, 10)
    await asyncio.sleep(0)
    assert open_descriptors() <= before + 1
