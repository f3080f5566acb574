"""Reloads of a real process: under load, by each way of asking, and what tools see."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.e2e.conftest import local_provider, only
from tests.parts.faulty import Faulty, Peer
from tests.parts.gateway import ROOT, Gateway, Start
from tests.parts.http_text import (
    LAST_CHUNK,
    Message,
    chunk,
    event_stream_head,
    post,
    whole,
)
from tests.parts.raw import connect, exchange, read_response
from tests.parts.scripts import ask
from tests.parts.until import until

CHAT = "/v1/chat/completions"
FIRST = b'data: {"choices":[{"index":0,"delta":{"content":"first"}}]}\n\n'
LAST = b'data: {"choices":[{"index":0,"delta":{"content":"last"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
COMPLETION = b'{"object":"chat.completion","choices":[]}'
STREAM = post(CHAT, b'{"model":"tiny","messages":[],"stream":true}')
WHOLE = post(CHAT, b'{"model":"tiny","messages":[]}')
STREAMS, RELOADS, CALLERS = 100, 20, 4
DEADLINE_S = 45.0


class Upstream:
    """Answers whole requests at once; its streams stop until they are released."""

    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def __call__(self, peer: Peer, request: Message) -> None:
        if b'"stream":true' not in request.body:
            await peer.send(whole(COMPLETION))
            return
        await peer.send(event_stream_head() + chunk(FIRST))
        await peer.wait(self.released)
        await peer.send(chunk(LAST + DONE) + LAST_CHUNK)


def config(url: str, **server: Any) -> dict[str, Any]:
    # The streams hold all slots but one: whole requests take turns.
    slots = {"maxConcurrent": STREAMS + 1}
    return only(
        local_provider("box", "vllm", url) | slots,
        models=[{"id": "tiny", "providerId": "box"}],
        server=server,
    )


def rewrite(running: Gateway, content: Any) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (running.folder / "config.yaml").write_text(text)


def token(running: Gateway) -> str:
    return (running.folder / "data" / "local-token").read_text().strip()


async def steer(running: Gateway, method: str, path: str) -> tuple[int, Any]:
    field = f"authorization: Bearer {token(running)}"
    reply = await exchange(running.url, ask(method, f"/admin{path}", field))
    return reply.status, json.loads(reply.body)


async def last_reload(running: Gateway) -> Any:
    reply = await exchange(running.url, ask("GET", "/readyz"))
    return json.loads(reply.body)["last_reload"]


@asynccontextmanager
async def steady_flow(url: str) -> AsyncIterator[list[Message]]:
    """Ask for whole replies on a few kept connections while the block runs."""
    replies: list[Message] = []
    over = asyncio.Event()

    async def caller() -> None:
        reader, writer = await connect(url)
        while not over.is_set():
            writer.write(WHOLE)
            replies.append(await read_response(reader))
        writer.close()

    callers = [asyncio.ensure_future(caller()) for _ in range(CALLERS)]
    try:
        yield replies
    finally:
        over.set()
        await asyncio.gather(*callers)


async def test_reloads_under_load_cut_no_stream_and_fail_no_request(
    gateway: Start,
) -> None:
    script = Upstream()
    async with Faulty(script) as upstream, asyncio.timeout(DEADLINE_S):
        running = await gateway(config(upstream.url))
        streams = [await connect(running.url) for _ in range(STREAMS)]
        for _, writer in streams:
            writer.write(STREAM)
        starts = await asyncio.gather(*(r.readuntil(FIRST) for r, _ in streams))
        async with steady_flow(running.url) as replies:
            for number in range(RELOADS):
                before = len(replies)
                await _reloaded(running, upstream.url, number)
                await until(lambda: len(replies) > before + CALLERS, "more replies")  # noqa: B023
        assert {(reply.status, reply.body) for reply in replies} == {(200, COMPLETION)}
        assert any(reply.header("x-proxy-queue-ms") for reply in replies)
        assert running.gauges()["local_ai_active_requests"] == STREAMS
        script.released.set()
        for (reader, _), start in zip(streams, starts, strict=True):
            reply = await read_response(reader, start)
            assert reply.complete
            assert reply.body == FIRST + LAST + DONE
        await until(lambda: not running.gauges()["local_ai_active_requests"], "the end")
        gauges = running.gauges()
        assert gauges['local_ai_provider_active_requests{provider="box"}'] == 0


async def _reloaded(running: Gateway, url: str, number: int) -> None:
    """Reload, every other time from a broken file; each good one changes something."""
    is_broken = number % 2 == 1
    content = config(url, drainSeconds=10 + number, maxBodyBytes=1_000_000 + number)
    content["providers"][0]["priority"] = 1 + number
    rewrite(running, json.dumps(content)[:-20] if is_broken else content)
    status, told = await steer(running, "POST", "/reload")
    assert (status, told["status"]) == ((400, "failed") if is_broken else (200, "ok"))


async def test_a_stream_of_a_former_configuration_ends_in_band_at_shutdown(
    gateway: Start,
) -> None:
    async with Faulty(Upstream()) as upstream:
        running = await gateway(config(upstream.url))
        reader, writer = await connect(running.url)
        writer.write(STREAM)
        start = await reader.readuntil(FIRST)
        rewrite(running, config(upstream.url, drainSeconds=0))
        assert (await steer(running, "POST", "/reload"))[0] == 200
        running.terminate()
        async with asyncio.timeout(20):
            reply = await read_response(reader, start)
        assert reply.complete
        assert b'"shutting_down"' in reply.body
        await running.stopped()


async def test_sighup_reloads(gateway: Start) -> None:
    running = await gateway(config("http://127.0.0.1:9", watchConfig=False))
    assert await last_reload(running) is None
    rewrite(running, config("http://127.0.0.1:9", drainSeconds=3))
    running.process.send_signal(signal.SIGHUP)
    outcome = await _outcome(running, "SIGHUP")
    assert (outcome["status"], outcome["needs_restart"]) == ("ok", [])
    rewrite(running, "server: {drainSeconds: x}")
    running.process.send_signal(signal.SIGHUP)
    await until(lambda: "nothing has changed" in running.stderr, "the log's word")
    assert "server.drainSeconds" in running.stderr
    _, shown = await steer(running, "GET", "/config")
    assert shown["config"]["server"]["drainSeconds"] == 3


async def test_a_changed_file_is_taken_by_itself(gateway: Start) -> None:
    running = await gateway(config("http://127.0.0.1:9"))
    await until(lambda: running.stdout, "the greeting")
    file = running.folder / "config.yaml"
    file.with_suffix(".new").write_text(
        json.dumps(config("http://127.0.0.1:9", host="::1"))
    )
    file.with_suffix(".new").replace(file)
    outcome = await _outcome(running, "the file has changed")
    assert (outcome["status"], outcome["needs_restart"]) == ("ok", ["server.host"])
    file.unlink()
    rewrite(running, "{")
    await until(lambda: "nothing has changed" in running.stderr, "the log's word")


async def _outcome(running: Gateway, trigger: str) -> Any:
    async with asyncio.timeout(10):
        while True:
            outcome = await last_reload(running)
            if outcome is not None and outcome["trigger"] == trigger:
                return outcome
            await asyncio.sleep(0.05)


async def test_the_token_is_kept_for_the_owner_and_named_at_the_start(
    gateway: Start,
) -> None:
    running = await gateway(config("http://127.0.0.1:9"))
    await until(lambda: running.stdout, "the greeting")
    file = running.folder / "data" / "local-token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert f"in {file}\n" in running.stdout
    assert token(running) not in running.stdout + running.stderr


async def test_a_decision_is_printed_as_a_table(gateway: Start) -> None:
    async with Faulty(Upstream()) as upstream:
        running = await gateway(config(upstream.url))
        done = await asyncio.to_thread(_test_routing, running, "tiny")
        assert (done.returncode, done.stderr) == (0, "")
        [head, row] = done.stdout.splitlines()
        assert head.split()[0] == "provider"
        assert row.split()[:3] == ["1", "box", "tiny"]
        done = await asyncio.to_thread(_test_routing, running, "nothing")
        assert done.returncode == 1
        assert "model_not_found" in done.stdout


async def test_without_a_gateway_the_tool_says_so(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x")
    done = await asyncio.to_thread(
        _run, tmp_path, "tiny", "--url", "http://127.0.0.1:9", "--token", "token"
    )
    assert done.returncode == 1
    assert "No gateway answers" in done.stderr


def _test_routing(running: Gateway, model: str) -> subprocess.CompletedProcess[str]:
    file = running.folder / "data" / "local-token"
    return _run(running.folder, model, "--url", running.url, "--token", str(file))


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "bin" / "explain_routing.py", *arguments],
        cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
