"""`--workers 2`: one address, two processes, one of everything else."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import local_provider, only
from tests.fakes.openai import FakeOpenAI, chat_stream
from tests.fakes.upstream import SSE_TYPE, Answer
from tests.parts.gateway import Gateway, run_gateway, run_to_end, serving
from tests.parts.ports import HOST, is_taken
from tests.parts.until import until
from tests.parts.valkey import Valkey, valkey

CHAT = "/v1/chat/completions"
DEMO: dict[str, Any] = {"id": "demo", "kind": "demo"}
REQUESTS = "local_ai_requests_total"
HELD = 24  # the system deals them out by chance
WITHIN_S = 1.0


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@pytest.fixture(scope="module")
def state(server: Valkey) -> str:
    return server.new_database()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, state: str) -> Iterator[Gateway]:
    """Two workers that several tests may do something to, if they undo it."""
    folder = tmp_path_factory.mktemp("workers")
    with run_gateway(folder, settings(DEMO, state), "--workers", "2") as gateway:
        both_serve(gateway)
        yield gateway


def settings(provider: dict[str, Any], state: str, **more: Any) -> dict[str, Any]:
    return only(provider, state={"url": state}, **more)


def both_serve(gateway: Gateway) -> None:
    deadline = time.monotonic() + 20
    while gateway.gauges().get("local_ai_workers") != 2:
        assert time.monotonic() < deadline, gateway.stderr
        time.sleep(0.02)


def workers(gateway: Gateway) -> list[int]:
    """Answer the worker processes that there are."""
    command = ["ps", "-A", "-o", "pid=,ppid=,stat="]
    rows = (row.split() for row in subprocess.check_output(command).splitlines())
    parent = str(gateway.process.pid).encode()
    return [
        int(pid)
        for pid, of, state in rows
        if of == parent and not state.startswith(b"Z")
    ]


async def ask(
    gateway: Gateway, path: str = CHAT, *, model: str = "demo", **options: Any
) -> tuple[int, Any]:
    """Ask once, on a connection of its own: the system picks a worker."""
    messages = [{"role": "user", "content": "hello"}]
    options = {"json": {"model": model, "messages": messages}} | options
    async with (
        aiohttp.ClientSession() as session,
        session.post(gateway.url + path, **options) as reply,
    ):
        return reply.status, await reply.json()


async def statuses(gateway: Gateway, count: int = 20, **options: Any) -> set[int]:
    return {(await ask(gateway, **options))[0] for _ in range(count)}


def as_owner(gateway: Gateway) -> dict[str, Any]:
    token = (gateway.folder / "data" / "local-token").read_text().strip()
    return {"headers": {"authorization": f"Bearer {token}"}}


async def test_metrics_of_any_worker_are_those_of_all(gateway: Gateway) -> None:
    before = sum(gateway.counts(REQUESTS).values())
    assert await statuses(gateway, 30) == {200}
    for _ in range(6):
        assert sum(gateway.counts(REQUESTS).values()) == before + 30
        assert gateway.gauges()['local_ai_provider_health{provider="demo"}'] == 1
    lines = [line for line in gateway.stdout.splitlines() if "id=req_" in line]
    assert len({line.rpartition("id=req_")[2][:16] for line in lines}) == 2
    assert gateway.stdout.count("Address for clients") == 1


async def test_what_the_owner_does_to_one_is_done_to_all(gateway: Gateway) -> None:
    for what, then in (("disable", {503}), ("enable", {200})):
        path = f"/admin/providers/demo/{what}"
        status, shown = await ask(gateway, path, **as_owner(gateway))
        assert status == 200
        assert [one["ok"] for one in shown["workers"]] == [True]
        assert await statuses(gateway) == then


async def test_the_live_tail_shows_what_any_worker_serves(gateway: Gateway) -> None:
    def served() -> set[str]:
        lines = [one for one in gateway.stdout.splitlines() if "id=req_" in one]
        return {line.rpartition("id=")[2].split()[0] for line in lines}

    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{gateway.url}/admin/requests/stream", **as_owner(gateway)
        ) as watched,
    ):
        told = b""

        async def listen() -> None:
            nonlocal told
            async for piece in watched.content.iter_any():
                told += piece

        listening = asyncio.ensure_future(listen())
        while b"event: request" not in told:  # its workers are asked one by one
            await ask(gateway)
        await asyncio.sleep(WITHIN_S)
        before = served()
        assert await statuses(gateway) == {200}
        await until(lambda: len(served()) >= len(before) + 20, "all are in the log")
        new = served() - before
        assert len({id_[:16] for id_ in new}) == 2, "both have served"
        await until(lambda: all(id_.encode() in told for id_ in new), "all are told")
        listening.cancel()


async def test_a_reload_reaches_all_workers(gateway: Gateway, state: str) -> None:
    def in_force() -> int:
        return gateway.stderr.count("is in force")

    file, not_watched = gateway.folder / "config.yaml", {"watchConfig": False}
    file.write_text(json.dumps(settings(DEMO, state, server=not_watched)))
    await until(lambda: in_force() == 2, "both have noticed it")
    model = {"id": "other", "providerId": "demo", "upstreamModel": "demo"}
    more = settings(DEMO, state, server=not_watched, models=[model])
    file.write_text(json.dumps(more))
    _, shown = await ask(gateway, "/admin/reload", **as_owner(gateway))
    assert [one["ok"] for one in shown["workers"]] == [True]
    assert in_force() == 4
    assert await statuses(gateway, model="other") == {200}
    gateway.process.send_signal(signal.SIGHUP)
    await until(lambda: in_force() == 6, "SIGHUP reloads both")


async def test_a_worker_that_is_killed_is_replaced(gateway: Gateway) -> None:
    victim, other = workers(gateway)
    os.kill(victim, signal.SIGKILL)
    await until(lambda: victim not in workers(gateway), "it is gone")
    # Who was waiting to be accepted by it is reset; the other serves all who come.
    replies = await asyncio.gather(
        *(ask(gateway) for _ in range(20)), return_exceptions=True
    )
    served = [one for one in replies if not isinstance(one, aiohttp.ClientOSError)]
    assert {one if isinstance(one, BaseException) else one[0] for one in served} == {
        200
    }
    await asyncio.to_thread(both_serve, gateway)
    assert other in workers(gateway)
    assert await statuses(gateway) == {200}
    assert "has ended (signal 9)" in gateway.stderr


async def test_streams_of_all_workers_finish_after_sigterm(
    tmp_path: Path, server: Valkey
) -> None:
    upstream, released = FakeOpenAI(), asyncio.Event()
    answer = Answer(
        200, chat_stream({"model": "fake-model"}), SSE_TYPE, before_piece={3: released}
    )
    upstream.script(CHAT, *[answer] * HELD)
    async with two_workers(tmp_path, server, upstream) as gateway:
        body = {"model": "fake-model", "messages": [], "stream": True}
        async with aiohttp.ClientSession() as session:
            replies = [
                await session.post(
                    gateway.url + CHAT, json=body, headers={"connection": "close"}
                )
                for _ in range(HELD)
            ]
            gateway.terminate()
            await until(lambda: not is_taken(gateway.port), "closed doors")
            released.set()
            for reply in replies:
                assert (await reply.read()).rstrip().endswith(b"data: [DONE]")
        assert await asyncio.to_thread(gateway.process.wait, 20) == 0
    lines = [line for line in gateway.stdout.splitlines() if "id=req_" in line]
    assert len({line.rpartition("id=req_")[2][:16] for line in lines}) == 2


async def test_a_revoked_key_ends_within_a_second_in_all_workers(
    tmp_path: Path, server: Valkey
) -> None:
    config = settings(DEMO, server.new_database(), auth={"enabled": True})
    async with serving(tmp_path, config, "--workers", "2") as gateway:
        await asyncio.to_thread(both_serve, gateway)
        (secret,) = re.findall(r"shown only this once: (\S+)", gateway.stdout)
        admin = {"headers": {"authorization": f"Bearer {secret}"}}
        wanted = {"name": "app", "scopes": ["inference"]}
        status, made = await ask(gateway, "/admin/keys", json=wanted, **admin)
        assert status == 201
        caller = {"headers": {"authorization": f"Bearer {made['secret']}"}}
        await asyncio.sleep(WITHIN_S)
        assert await statuses(gateway, **caller) == {200}
        async with (
            aiohttp.ClientSession() as session,
            session.delete(f"{gateway.url}/admin/keys/{made['id']}", **admin) as reply,
        ):
            assert reply.status == 200
        await asyncio.sleep(WITHIN_S)
        assert await statuses(gateway, **caller) == {401}


async def test_workers_end_with_their_parent(tmp_path: Path, server: Valkey) -> None:
    async with two_workers(tmp_path, server, FakeOpenAI()) as gateway:
        gateway.process.kill()
        await asyncio.to_thread(gateway.process.wait)
        await until(lambda: not is_taken(gateway.port), "nobody listens any more")
        gateway.process.returncode = 0  # it was meant to end so


@asynccontextmanager
async def two_workers(
    folder: Path, server: Valkey, upstream: FakeOpenAI
) -> AsyncIterator[Gateway]:
    async with upstream.serving():
        provider = local_provider("gpu", "openai-compatible", upstream.url)
        config = settings(provider, server.new_database())
        async with serving(folder, config, "--workers", "2") as gateway:
            await asyncio.to_thread(both_serve, gateway)
            yield gateway


def test_several_workers_need_a_state_that_they_share(tmp_path: Path) -> None:
    done = run_to_end(tmp_path, only(), "--workers", "2")
    assert done.code == 2
    assert "set state.url (REDIS_URL)" in done.stderr


def test_a_port_that_is_taken_is_told_once(tmp_path: Path) -> None:
    config = settings(DEMO, "valkey://127.0.0.1:1")
    with socket.create_server((HOST, 0)) as holder:
        port = holder.getsockname()[1]
        done = run_to_end(tmp_path, config, "--workers", "2", "--port", str(port))
    assert done.code == 1
    assert done.stderr.count("the port is in use") == 1
