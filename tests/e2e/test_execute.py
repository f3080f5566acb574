"""POST /execute of a real gateway: what an SDK-less caller sees."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.parts.gateway import Gateway, Start, run_gateway
from tests.parts.missing import missing_part, need_module, need_program
from tests.parts.until import until

CONFIG = {"discovery": {"enabled": False}, "execute": {"enabled": True}}
ADD = {"code": "def add(a, b):\n    return a + b", "input": {"a": 1, "b": 2}}
ENDLESS = {"code": "while True: pass", "timeout_s": 30}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    need_module("pydantic_monty")
    need_program("bwrap")
    with run_gateway(tmp_path_factory.mktemp("execute"), CONFIG) as running:
        health = httpx.get(f"{running.url}/health?verbose=1").json()["execute"]
        if "jail" not in health["isolation"].get("cpython", ()):
            missing_part("user namespaces, which bwrap needs")
        yield running


def run(gateway: Gateway, **body: Any) -> httpx.Response:
    return httpx.post(f"{gateway.url}/execute", json=body, timeout=40)


def children(pid: int) -> list[int]:
    """The processes below one that are not dead, however deep."""
    listed = subprocess.check_output(["ps", "-eo", "pid=,ppid=,stat="], text=True)
    rows = [line.split() for line in listed.splitlines()]
    below, found = {pid}, []
    for _ in range(6):
        new = [int(p) for p, up, s in rows if int(up) in below and s[0] != "Z"]
        found += [p for p in new if p not in found]
        below |= set(new)
    return found


@pytest.mark.parametrize("engine", ["auto", "monty", "cpython"])
def test_the_example_is_three(serving: Gateway, engine: str) -> None:
    reply = run(serving, **ADD, engine=engine)
    assert reply.status_code == 200
    answer = reply.json()
    assert (answer["result"], answer["result_type"]) == (3, "int")
    assert answer.keys() == {
        "result", "result_type", "stdout", "stderr", "duration_ms", "engine",
        "isolation", "truncated",
    }  # fmt: skip
    assert "jail" in answer["isolation"]


def test_an_error_has_the_usual_shape(serving: Gateway) -> None:
    reply = run(serving, code="def f(x):\n    return x.y", input={"x": 1})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (400, "execution_error")
    assert error["type"] == "invalid_request_error"
    assert "AttributeError" in error["message"]
    assert 'File "<code>", line 2, in f' in error["message"]


def test_a_packed_body_is_unpacked_within_the_limit(serving: Gateway) -> None:
    def post(code: str) -> httpx.Response:
        packed = gzip.compress(orjson.dumps({"code": code}))
        headers = {"content-encoding": "gzip"}
        return httpx.post(f"{serving.url}/execute", content=packed, headers=headers)

    assert post("result = 5").json()["result"] == 5
    assert post(" " * 2_000_000).json()["error"]["code"] == "body_too_large"


def test_it_is_not_for_those_behind_a_proxy_or_another_name(serving: Gateway) -> None:
    for headers in ({"x-forwarded-for": "127.0.0.1"}, {"host": "box.lan"}):
        reply = httpx.post(f"{serving.url}/execute", json=ADD, headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize("engine", ["monty", "cpython"])
async def test_a_caller_who_leaves_takes_the_run_along(
    serving: Gateway, engine: str
) -> None:
    body = ENDLESS | {"engine": engine, "code": "while True: pass  # left"}
    for _ in range(6):  # more than may run at once
        with pytest.raises(httpx.ReadTimeout):
            async with httpx.AsyncClient(timeout=0.3) as client:
                await client.post(f"{serving.url}/execute", json=body)
    reply = await asyncio.to_thread(run, serving, **ADD, engine=engine)
    assert reply.json()["result"] == 3


async def test_a_stop_ends_every_process(gateway: Start) -> None:
    need_module("pydantic_monty")
    running = await gateway(CONFIG)
    async with httpx.AsyncClient(timeout=40) as client:
        asked = asyncio.gather(
            *(
                client.post(f"{running.url}/execute", json=ENDLESS | {"engine": engine})
                for engine in ("monty", "cpython")
            ),
            return_exceptions=True,
        )
        pid = running.process.pid
        await until(lambda: len(children(pid)) >= 2, "sandboxes")
        there = children(pid)
        await running.stopped()
        await asked
    await until(lambda: not any(map(is_running, there)), "the end of all")


async def test_a_gateway_that_is_killed_takes_its_jails_along(tmp_path: Path) -> None:
    need_module("pydantic_monty")
    need_program("bwrap")
    with ExitStack() as stack:
        running = stack.enter_context(run_gateway(tmp_path, CONFIG))
        assert run(running, **ADD).json()["result"] == 3
        await until(lambda: len(children(running.process.pid)) >= 4, "spare sandboxes")
        there = children(running.process.pid)
        os.kill(running.process.pid, signal.SIGKILL)
        with pytest.raises(AssertionError, match="exit code -9"):
            stack.close()
    await until(lambda: not any(map(is_running, there)), "the end of all")


def is_running(pid: int) -> bool:
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    return listed.stdout.strip()[:1] not in ("", "Z")
