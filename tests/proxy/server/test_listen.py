from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.server.listen import AT_ONCE, listen
from tests.parts.ports import free_port


class Callers(list[asyncio.BaseTransport]):
    """Who has been taken."""

    def __call__(self) -> asyncio.Protocol:
        kept = self

        class Taken(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                kept.append(transport)

        return Taken()


def call(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


async def test_those_who_come_at_once_are_not_taken_one_by_one() -> None:
    taken, port = Callers(), free_port()
    listening = await listen(taken, "127.0.0.1", port)
    waiting = [call(port) for _ in range(AT_ONCE * 4)]  # the loop stands still
    turns = 0
    while len(taken) < len(waiting) and turns < len(waiting):
        await asyncio.sleep(0)
        turns += 1
    assert len(taken) == len(waiting)
    assert turns <= 4 + 3
    for one in listening:
        one.close()
    for transport in taken:
        transport.close()
    for sock in waiting:
        sock.close()


async def test_nobody_is_taken_when_all_are_closed() -> None:
    port = free_port()
    for _ in range(2):  # the port is free again
        taken = Callers()
        listening = await listen(taken, "127.0.0.1", port)
        assert len(listening) == AT_ONCE
        for one in listening:
            one.close()
        await asyncio.sleep(0.01)
        with pytest.raises(ConnectionRefusedError):
            call(port)
        assert not taken


async def test_a_port_of_another_is_not_taken() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(OSError, match="use"):
        await listen(Callers(), "127.0.0.1", port)


async def test_any_port_is_one_port() -> None:
    listening = await listen(Callers(), "127.0.0.1", 0)
    ports = {one.sockets[0].getsockname()[1] for one in listening}
    assert len(ports) == 1
    for one in listening:
        one.close()


async def test_workers_share_a_port() -> None:
    port = free_port()
    both = [await listen(Callers(), "127.0.0.1", port, shares=True) for _ in range(2)]
    assert len(both[0]) == len(both[1])
    for one in [*both[0], *both[1]]:
        one.close()
