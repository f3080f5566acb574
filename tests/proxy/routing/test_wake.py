from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from proxy.config import Config, ModelConfig
from proxy.config.schema_providers import Wake
from proxy.core.tasks import Tasks
from proxy.routing.catalog import Catalog
from proxy.routing.registry import Provider, Status
from proxy.routing.wake import (
    PAUSE_S,
    Address,
    Waker,
    broadcast,
    is_asleep,
    magic_packet,
    sleeper,
)
from tests.fakes.hand_clock import HandClock
from tests.fakes.kinds import CHAT, provider

WAKE = Wake(mac="aa:bb:cc:dd:ee:ff", broadcast="192.168.7.255", port=9, wait_seconds=10)


class Machine:
    """Comes up after so many looks, or never; counts what is done to it."""

    def __init__(self, tasks: Tasks, up_after: int | None = None) -> None:
        self.provider = asleep()
        self.up_after = up_after
        self.sent: list[tuple[bytes, Address]] = []
        self.looks = 0
        self.clock = HandClock()
        self.waker = Waker(
            self._look, tasks, send=self._send, now=self.clock, sleep=self._sleep
        )

    def _send(self, packet: bytes, address: Address) -> None:
        self.sent.append((packet, address))

    async def _sleep(self, seconds: float) -> None:
        self.clock.pass_by(seconds)
        await asyncio.sleep(0)

    async def _look(self, provider: Provider) -> None:
        self.looks += 1
        if self.looks == self.up_after:
            provider.health = Status.ONLINE


def asleep(id_: str = "desk", wake: Wake | None = WAKE) -> Provider:
    return provider(id_, "m", health=Status.OFFLINE, wake=wake)


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    async with Tasks(_raise) as group:
        yield group


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "mac", ["aa:bb:cc:dd:ee:ff", "AA-BB-CC-DD-EE-FF", "aabbccddeeff"]
)
def test_the_packet_is_six_times_ff_and_the_address_sixteen_times(mac: str) -> None:
    packet = magic_packet(mac)
    assert packet == b"\xff" * 6 + b"\xaa\xbb\xcc\xdd\xee\xff" * 16
    assert len(packet) == 102


def test_what_is_no_address_makes_no_packet() -> None:
    with pytest.raises(ValueError):
        magic_packet("aa:bb")


def test_the_packet_is_sent_by_udp_to_the_address_given() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        broadcast(b"wake up", receiver.getsockname())
        assert receiver.recv(100) == b"wake up"


async def test_the_machine_gets_one_packet_and_is_waited_for(tasks: Tasks) -> None:
    machine = Machine(tasks, up_after=3)
    started = machine.clock.now
    assert await machine.waker.up(machine.provider)
    assert machine.sent == [(magic_packet(WAKE.mac), ("192.168.7.255", 9))]
    assert machine.clock.now - started == 3 * PAUSE_S


async def test_requests_that_need_it_at_the_same_time_share_the_wait(
    tasks: Tasks,
) -> None:
    machine = Machine(tasks, up_after=3)
    waits = [machine.waker.up(machine.provider) for _ in range(5)]
    assert await asyncio.gather(*waits) == [True] * 5
    assert (len(machine.sent), machine.looks) == (1, 3)


async def test_one_that_stays_down_is_given_up_in_time_and_may_be_tried_again(
    tasks: Tasks,
) -> None:
    machine = Machine(tasks)
    started = machine.clock.now
    assert not await machine.waker.up(machine.provider)
    assert machine.clock.now - started == 10
    machine.up_after = machine.looks + 1
    assert await machine.waker.up(machine.provider)
    assert len(machine.sent) == 2


async def test_a_caller_who_leaves_does_not_end_the_wait_of_others(
    tasks: Tasks,
) -> None:
    machine = Machine(tasks, up_after=3)
    first = asyncio.create_task(machine.waker.up(machine.provider))
    second = asyncio.create_task(machine.waker.up(machine.provider))
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert len(machine.sent) == 1


async def test_a_packet_that_cannot_be_sent_is_no_reason_not_to_wait(
    tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(tasks, up_after=1)

    def refuse(packet: bytes, address: Address) -> None:
        raise OSError(101, "Network is unreachable")

    machine.waker._send = refuse
    assert await machine.waker.up(machine.provider)
    assert "desk could not be woken" in caplog.text
    assert "Network is unreachable" in caplog.text


async def test_a_provider_without_wake_is_never_sent_anything(tasks: Tasks) -> None:
    machine = Machine(tasks)
    assert not await machine.waker.up(asleep(wake=None))
    assert (machine.sent, machine.looks) == ([], 0)


def test_only_one_that_is_offline_and_not_held_sleeps() -> None:
    machine = asleep()
    assert is_asleep(machine)
    machine.held = Status.DRAINING
    assert not is_asleep(machine)
    assert not is_asleep(asleep(wake=None))
    assert not is_asleep(provider("up", "m", wake=WAKE))


def test_a_sleeper_is_looked_for_only_where_nobody_else_can_serve() -> None:
    model = ModelConfig(id="m", provider_id="desk")
    desk = asleep()
    alone = Catalog(Config(models=(model,)), [desk]).resolve("m", CHAT)
    assert sleeper(alone) is desk
    other = Catalog(Config(), [desk, provider("spark", "m")]).resolve("m", CHAT)
    assert sleeper(other) is None
    gone = Catalog(Config(), [asleep(wake=None)]).resolve("m", CHAT)
    assert sleeper(gone) is None
