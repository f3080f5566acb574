"""A machine that sleeps gets the magic packet once, and who needs it waits for it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from proxy.routing.registry import Finding, Status
from proxy.routing.wake import magic_packet
from tests.parts.faulty import Faulty
from tests.parts.http_text import post, whole
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site
from tests.parts.ports import HOST, free_port
from tests.parts.scripts import BODY, DONE, EVENT, STREAM, answers, error_of, stream
from tests.parts.until import until

MAC = "aa:bb:cc:dd:ee:ff"
AT_ONCE = 5


@pytest.fixture
def ear() -> Iterator[socket.socket]:
    """Hears what is sent to the network of the machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind((HOST, 0))
        made.setblocking(False)
        yield made


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.routing.wake.PAUSE_S", 0.05)


async def asleep(
    open_site: OpenSite, ear: socket.socket, port: int, wait_s: float = 30
) -> Site:
    """Open a site whose only provider sleeps."""
    wake = {
        "mac": MAC, "broadcast": HOST, "port": ear.getsockname()[1],
        "waitSeconds": wait_s,
    }  # fmt: skip
    return await open_site(
        fast=True,
        provider={"endpoint": f"http://{HOST}:{port}", "wake": wake},
        stream={"keepAliveSeconds": 0.3},
    )


def heard(ear: socket.socket) -> list[bytes]:
    packets: list[bytes] = []
    while True:
        try:
            packets.append(ear.recv(2048))
        except BlockingIOError:
            return packets


@pytest.mark.parametrize("known", [True, False])
async def test_one_packet_wakes_it_and_all_who_wait_are_served(
    open_site: OpenSite, ear: socket.socket, known: bool
) -> None:
    port = free_port()
    site = await asleep(open_site, ear, port)
    if known:
        [box] = site.runtime.registry.providers
        site.runtime.registry.report(box, Finding(Status.OFFLINE, "refused"))
    replies = [
        asyncio.ensure_future(site.ask(post(CHAT, BODY))) for _ in range(AT_ONCE)
    ]
    packets: list[bytes] = []

    def is_woken() -> bool:
        packets.extend(heard(ear))
        return bool(packets)

    await until(is_woken, "the packet")
    async with Faulty(answers(whole(COMPLETION)), port=port) as machine:
        answered = await asyncio.gather(*replies)
        assert {(each.status, each.body) for each in answered} == {(200, COMPLETION)}
        assert len(machine.requests) == AT_ONCE
    assert packets + heard(ear) == [magic_packet(MAC)]
    assert [p.active for p in site.runtime.registry.providers] == [0]


async def test_a_stream_is_kept_alive_meanwhile(
    open_site: OpenSite, ear: socket.socket
) -> None:
    port = free_port()
    site = await asleep(open_site, ear, port)
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    await caller.until(b": keep-alive\n\n")
    async with Faulty(answers(stream(EVENT, DONE)), port=port):
        reply = await caller.reply()
    assert reply.status == 200
    assert reply.body.endswith(EVENT + DONE)
    assert len(heard(ear)) == 1


@pytest.mark.parametrize("known", [True, False])
async def test_one_that_does_not_come_up_is_given_up(
    open_site: OpenSite, ear: socket.socket, known: bool
) -> None:
    site = await asleep(open_site, ear, free_port(), wait_s=0.3)
    if known:
        [box] = site.runtime.registry.providers
        site.runtime.registry.report(box, Finding(Status.OFFLINE, "refused"))
    reply = await site.ask(post(CHAT, BODY))
    code = "all_providers_unavailable" if known else "upstream_error"
    assert (error_of(reply)["code"], len(heard(ear))) == (code, 1)


async def test_it_sleeps_on_while_another_can_serve(
    open_site: OpenSite, ear: socket.socket
) -> None:
    wake = {"mac": MAC, "broadcast": HOST, "port": ear.getsockname()[1]}
    async with Faulty(answers(whole(COMPLETION))) as spare:
        site = await open_site(
            provider={"endpoint": f"http://{HOST}:{free_port()}", "wake": wake},
            others=[{"id": "spare", "kind": "vllm", "endpoint": spare.url}],
            models=[{"id": "tiny", "providers": [{"id": "box"}, {"id": "spare"}]}],
        )
        assert (await site.ask(post(CHAT, BODY))).status == 200
    assert heard(ear) == []
