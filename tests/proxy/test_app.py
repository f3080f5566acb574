"""Serving, from the listening socket to the exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import subprocess
import tempfile
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from proxy import app, front
from proxy.server.fast import FastHandler
from proxy.server.handler import Handler
from tests.parts.http_text import Message, post, responses
from tests.parts.inside import (
    CHAT,
    COMPLETION,
    OpenSite,
    open_site,
    read_from,
    settings,
)
from tests.parts.missing import need_program
from tests.parts.ports import HOST
from tests.parts.raw import exchange
from tests.parts.scripts import BODY, ask
from tests.parts.until import until

__all__ = ["open_site"]

NOBODY = "http://127.0.0.1:9"
HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def process_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """What suits a process that serves does not suit one that runs tests."""
    monkeypatch.setattr(app, "_settle_memory", lambda: None)
    monkeypatch.setattr(app, "_hear_no_more", lambda: None)
    monkeypatch.chdir(tmp_path)
    before = {name: signal.getsignal(name) for name in HEARD}
    yield
    for name, handler in before.items():
        signal.signal(name, handler)


async def served(server: dict[str, Any]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        content = settings(NOBODY, server=server)
        loaded = read_from(Path(folder) / "config.yaml", content)
        return await app._serve(loaded, None, None)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
async def test_a_signal_ends_it_well(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    serving = asyncio.ensure_future(served({"port": 0, "drainSeconds": 1}))
    printed = ""

    def greeted() -> bool:
        nonlocal printed
        printed += capsys.readouterr().out
        return f"http://{HOST}:" in printed

    await until(greeted, "the greeting")
    port = printed.partition(f"http://{HOST}:")[2].split()[0].split("/")[0]
    assert int(port) > 0
    reply = await exchange(f"http://{HOST}:{port}", ask("GET", "/healthz"))
    assert reply.body == b'{"status":"ok"}'
    os.kill(os.getpid(), getattr(signal, name))
    async with asyncio.timeout(5):
        assert await serving == 0


async def test_a_port_in_use_is_said_and_ends_with_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server((HOST, 0)) as holder:
        port = holder.getsockname()[1]
        assert await served({"port": port}) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"Cannot listen on {HOST}:{port}: the port is in use")
    assert "--port" in said.err


async def test_an_address_that_is_not_ours_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await served({"host": "192.0.2.1", "port": 0}) == 1
    said = capsys.readouterr().err
    assert said.startswith("Cannot listen on 192.0.2.1:0: ")
    assert "in use" not in said


async def test_a_certificate_that_is_none_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cert.pem"
    file.write_text("no certificate")
    tls = {"certFile": str(file), "keyFile": str(file)}
    assert await served({"port": 0, "tls": tls}) == 1
    assert capsys.readouterr().err.startswith(f"Cannot listen on {HOST}:0: ")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A certificate for localhost and its key, made for this run."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [need_program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes",
         "-days", "1", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return {"certFile": str(cert), "keyFile": str(key)}


@pytest.mark.parametrize("fast", [True, False])
async def test_it_serves_https(
    open_site: OpenSite, certificate: dict[str, str], fast: bool
) -> None:
    site = await open_site(fast=fast, server={"tls": certificate})
    assert site.url.startswith(f"https://{HOST}:")
    context = ssl.create_default_context(cafile=certificate["certFile"])
    reader, writer = await asyncio.open_connection(
        HOST, int(site.url.rpartition(":")[2]), ssl=context, server_hostname="localhost"
    )
    writer.write(post(CHAT, BODY, "connection: close"))
    async with asyncio.timeout(5):
        received = await reader.read()
    writer.close()
    reply: Message = responses(received)[0]
    assert (reply.status, reply.body) == (200, COMPLETION)


async def test_plain_http_is_the_default(open_site: OpenSite) -> None:
    site = await open_site()
    assert site.url.startswith(f"http://{HOST}:")
    assert (await site.ask(post(CHAT, BODY))).body == COMPLETION


@pytest.mark.parametrize(
    ("version", "fast", "made"),
    [
        ("3.14.5", True, FastHandler),
        ("3.14.5", False, Handler),
        ("3.15.0", True, Handler),
    ],
)
async def test_the_fast_door_is_open_where_aiohttp_is_known(
    open_site: OpenSite,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    version: str,
    fast: bool,
    made: type[Handler],
) -> None:
    monkeypatch.setattr(front.aiohttp, "__version__", version)
    with caplog.at_level(logging.WARNING):
        site = await open_site(fast=fast)
    assert (await site.ask(post(CHAT, BODY))).body == COMPLETION
    caller = await site.caller()
    caller.send(ask("GET", "/healthz"))
    await caller.reply()
    server = site.runner.server
    assert server is not None
    assert {type(connection) for connection in server.connections} == {made}
    assert ("3.15.0" in caplog.text) == (version == "3.15.0")


async def test_it_is_counted_which_door_was_taken(open_site: OpenSite) -> None:
    site = await open_site(fast=True)
    caller = await site.caller()
    caller.send(post(CHAT, BODY) + ask("GET", "/metrics"))
    await caller.reply()
    scraped = (await caller.reply()).body.decode()
    assert 'local_ai_fast_path_total{reason="hot",taken="true"} 1.0' in scraped
    assert 'local_ai_fast_path_total{reason="path",taken="false"} 1.0' in scraped
