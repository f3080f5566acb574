"""The built-in provider in place of a socket, under the one client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest

from providers.demo import Step
from proxy.relay import stage
from proxy.relay.client import Client, Outgoing
from proxy.relay.origin import Origin, Tls, read_origin
from tests.fakes.hand_clock import HandClock
from tests.fakes.sink import KeptSink
from tests.proxy.relay.rig import settle


@dataclass
class Script:
    """A responder that gives its steps for the first bytes it gets."""

    steps: list[Step]
    fed: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Step]:
        self.fed += data
        steps, self.steps = self.steps, []
        yield from steps


class Heard(asyncio.Protocol):
    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.lost = asyncio.Event()
        self.transport: stage.StageTransport | None = None
        self.pauses = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, stage.StageTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data.append(data)
        if self.pauses:
            assert self.transport is not None
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


def connect(monkeypatch: pytest.MonkeyPatch, *steps: Step) -> tuple[Heard, Script]:
    script = Script(list(steps))
    monkeypatch.setattr(stage, "Responder", lambda: script)
    return stage.connect(Heard), script


async def test_steps_are_played_in_order_never_inside_a_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard, script = connect(monkeypatch, Step(data=b"a"), Step(data=b"b"))
    assert heard.transport is not None
    heard.transport.write(b"ask")
    assert heard.data == []
    await settle()
    assert heard.data == [b"a", b"b"]
    assert bytes(script.fed) == b"ask"
    assert heard.transport.get_write_buffer_size() == 0


async def test_a_paused_stage_plays_on_when_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard, _ = connect(monkeypatch, *[Step(data=b"%d" % n) for n in range(3)])
    heard.pauses = True
    assert heard.transport is not None
    heard.transport.write(b"ask")
    for played in range(1, 4):
        await settle()
        assert len(heard.data) == played
        heard.transport.resume_reading()
    await settle()
    assert heard.data == [b"0", b"1", b"2"]


async def test_a_stage_paused_before_its_step_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard, _ = connect(monkeypatch, Step(data=b"a"))
    assert heard.transport is not None
    heard.transport.write(b"ask")
    heard.transport.pause_reading()
    await settle()
    assert heard.data == []
    heard.transport.resume_reading()
    await settle()
    assert heard.data == [b"a"]


async def test_a_step_may_hang_up(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, _ = connect(monkeypatch, Step(data=b"half", close=True), Step(data=b"rest"))
    assert heard.transport is not None
    heard.transport.write(b"ask")
    await settle()
    assert heard.data == [b"half"]
    assert heard.lost.is_set()
    assert heard.transport.is_closing()
    heard.transport.write(b"again")
    await settle()
    assert heard.data == [b"half"]


@pytest.mark.parametrize("end", ["abort", "close"])
async def test_an_aborted_stage_plays_nothing_more(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    heard, _ = connect(monkeypatch, Step(data=b"a"), Step(data=b"b"))
    assert heard.transport is not None
    heard.transport.write(b"ask")
    getattr(heard.transport, end)()
    getattr(heard.transport, end)()
    await settle()
    assert heard.data == []
    assert heard.lost.is_set()


# -- with the real responder ------------------------------------------------------------


@pytest.fixture
async def client(hands: HandClock) -> AsyncIterator[Client]:
    async with Client(hands.ticker) as opened:
        yield opened


async def test_the_demo_provider_answers_the_one_client(client: Client) -> None:
    fetched = await client.fetch_for(Tls())("GET", "demo://local/v1/models")
    assert fetched.status == 200
    assert b"demo" in fetched.body


async def test_its_connections_are_kept_like_any_other(client: Client) -> None:
    origin: Origin = read_origin("demo://local")
    connection = await client.connect(origin, 1.0)
    for _ in range(2):
        sink = KeptSink()
        client.send(connection, origin, Outgoing("GET", "/v1/models", []), sink)
        await settle()
        assert sink.told == ["head", "data", "end"]
        assert client.counts(origin) == (0, 1)
        assert client.take(origin) is connection
    connection.abort()
    await settle()
    assert client.counts(origin) == (0, 0)
