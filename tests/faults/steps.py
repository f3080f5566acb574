"""Scripts made of steps: bytes to send, and what is done besides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.parts.faulty import Peer, Script
from tests.parts.http_text import Message

Act = Callable[[Peer], Awaitable[None]]
Step = bytes | Act

# Rounds of the loop in which the other end reads what has been sent.
ROUNDS = 20
DRIP_S = 0.05


def plays(*steps: Step) -> Script:
    """Take the steps one after the other, for each request anew."""

    async def play(peer: Peer, request: Message) -> None:
        for step in steps:
            if isinstance(step, bytes):
                await peer.send(step)
            else:
                await step(peer)

    return play


async def settle(peer: Peer) -> None:
    """Let what was sent arrive by itself."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


async def hang(peer: Peer) -> None:
    """Do nothing more until the other end has gone."""
    await peer.wait(asyncio.Event())


async def close(peer: Peer) -> None:
    await settle(peer)
    peer.close()


async def reset(peer: Peer) -> None:
    await settle(peer)
    peer.reset()


async def stop_reading(peer: Peer) -> None:
    peer.stop_reading()


def dribble(data: bytes) -> Act:
    """One byte at a time."""
    return lambda peer: peer.dribble(data)


def drip(*pieces: bytes, forever: bool = False) -> Act:
    """With a pause after each piece that is shorter than any limit."""

    async def act(peer: Peer) -> None:
        while True:
            for piece in pieces:
                await peer.send(piece)
                await asyncio.sleep(DRIP_S)
            if not forever:
                return

    return act


def on_used(used: Script, fresh: Script) -> Script:
    """The one on a connection that has served before, the other on a new one."""

    async def play(peer: Peer, request: Message) -> None:
        await (used if peer.served else fresh)(peer, request)

    return play
