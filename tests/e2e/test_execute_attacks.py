"""Hostile code against a real gateway, on both engines, as root and as another user.

Nothing outside may be read, made, signalled or called, and the gateway serves on.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.parts.attacks import ATTACKS, ESCAPED
from tests.parts.gateway import Gateway, run_gateway
from tests.parts.missing import missing_part, need_module, need_program
from tests.parts.ordinary import USER, as_ordinary_user

SECRET = "s3cret-of-the-gateway"  # in a file and in its environment
ADD = {"code": "def add(a, b):\n    return a + b", "input": {"a": 1, "b": 2}}
CONFIG = {"discovery": {"enabled": False}, "execute": {"enabled": True}}
LARGEST_REPLY = 500_000
RUNS = 250


@dataclass
class Scene:
    """A gateway, and what must stay untouched."""

    gateway: Gateway
    listener: socket.socket
    victim: subprocess.Popen[bytes]
    secret: Path
    target: Path

    def attack(self, name: str) -> str:
        return ATTACKS[name].format(
            port=self.listener.getsockname()[1],
            secret=str(self.secret),
            target=str(self.target),
            victim=self.victim.pid,
            gateway=self.gateway.process.pid,
        )

    def run(self, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.gateway.url}/execute", json=body, timeout=30)

    def check_untouched(self) -> None:
        with pytest.raises(BlockingIOError):
            self.listener.accept()
        assert self.victim.poll() is None
        assert self.gateway.process.poll() is None
        assert not self.target.exists()


@pytest.fixture(scope="module", params=["whoever runs the tests", "an ordinary user"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    need_module("pydantic_monty")
    need_program("bwrap")
    folder = Path(tempfile.mkdtemp())
    before: list[str] = []
    if request.param == "an ordinary user":
        if os.geteuid() != 0:
            pytest.skip("it is an ordinary user who runs the tests")
        folder.chmod(0o755)
        os.chown(folder, USER, USER)
        before = as_ordinary_user(folder)
    secret = folder / "secret"
    secret.write_text(SECRET)
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            subprocess.Popen(["sleep", "600"]) as victim,
        ):
            listener.setblocking(False)
            with run_gateway(
                folder, CONFIG, variables={"SECRET": SECRET}, before=before
            ) as gateway:
                scene = Scene(gateway, listener, victim, secret, folder / "target")
                shown = httpx.get(f"{gateway.url}/health?verbose=1").json()["execute"]
                if "jail" not in shown["isolation"].get("cpython", ()):
                    missing_part("user namespaces, which bwrap needs")
                yield scene
            victim.kill()
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("engine", ["monty", "cpython"])
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_contained(scene: Scene, name: str, engine: str) -> None:
    reply = scene.run(code=scene.attack(name), timeout_s=0.4, engine=engine)
    assert reply.status_code in (200, 400, 408), reply.text
    assert len(reply.content) < LARGEST_REPLY
    assert SECRET not in reply.text
    document = orjson.loads(reply.content)
    if reply.status_code == 200:
        assert document["result"] != ESCAPED, name
        assert document["stderr"] == "" or engine == "cpython"
    scene.check_untouched()


@pytest.mark.parametrize("engine", ["monty", "cpython"])
def test_the_next_run_is_as_the_first(scene: Scene, engine: str) -> None:
    reply = scene.run(**ADD, engine=engine)
    assert reply.json()["result"] == 3
    assert set(reply.json()["isolation"]) >= {"jail", "files", "network", "user"}


@pytest.mark.alone
async def test_meanwhile_others_are_served(scene: Scene) -> None:
    """All attacks at once; no other request fails or waits longer than a second."""
    limits = httpx.Limits(max_connections=None)
    is_over = threading.Event()
    bystander = asyncio.to_thread(ask_until, is_over, scene.gateway.port)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:

        async def attack(name: str, engine: str) -> int:
            body = {"code": scene.attack(name), "timeout_s": 0.4, "engine": engine}
            reply = await client.post(f"{scene.gateway.url}/execute", json=body)
            return reply.status_code

        async def storm() -> set[int]:
            try:
                pairs = product(ATTACKS, ("monty", "cpython"))
                return set(await asyncio.gather(*(attack(*pair) for pair in pairs)))
            finally:
                is_over.set()

        codes, served = await asyncio.gather(storm(), bystander)
    assert codes <= {200, 400, 408}
    assert served
    scene.check_untouched()


def ask_until(is_over: threading.Event, port: int) -> int:
    """Ask for something else again and again, in a thread that no reply keeps busy."""
    served = 0
    connection = HTTPConnection("127.0.0.1", port, timeout=1.0)
    while not is_over.wait(0.02):
        for path in ("/healthz", "/v1/models"):
            connection.request("GET", path)
            reply = connection.getresponse()
            reply.read()
            assert reply.status == 200
            served += 1
    connection.close()
    return served


@pytest.mark.alone
async def test_hundreds_of_runs_at_once_are_all_served(scene: Scene) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        before = scene.gateway.rss_bytes

        async def run(number: int) -> int:
            body = ADD | {"input": {"a": number, "b": 1}}
            reply = await client.post(f"{scene.gateway.url}/execute", json=body)
            result: int = reply.json()["result"]
            return result

        results = await asyncio.gather(*(run(number) for number in range(RUNS)))
    assert results == list(range(1, RUNS + 1))
    assert scene.gateway.rss_bytes - before < 64 << 20
