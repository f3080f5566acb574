"""Where callers come in: sockets that are listened on.

libuv takes one connection of a listening socket in each turn of its loop. Under load a
turn takes milliseconds: of a hundred who come at once the last one waited for a hundred
turns (bench: p99). So each socket is listened on several times, and each takes one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Final

AT_ONCE: Final = 8
"""Connections taken in a turn. For one that comes alone, all others look in vain: 1 µs
each."""

_BACKLOG: Final = 4096


async def listen(
    factory: Callable[[], asyncio.Protocol],
    host: str,
    port: int,
    context: ssl.SSLContext | None = None,
    *,
    shares: bool = False,
) -> list[asyncio.Server]:
    """Listen until all that is answered is closed. Raises OSError.

    `shares` the port with other processes; the system deals out callers.
    """
    create = asyncio.get_running_loop().create_server
    listening = [
        await create(
            factory,
            host,
            port,
            ssl=context,
            backlog=_BACKLOG,
            reuse_port=shares or None,
        )
    ]
    try:
        for sock in listening[0].sockets:
            for _ in range(AT_ONCE - 1):
                again = socket.socket(fileno=os.dup(sock.fileno()))
                listening.append(
                    await create(factory, sock=again, ssl=context, backlog=_BACKLOG)
                )
    except BaseException:
        for one in listening:
            one.close()
        raise
    return listening
