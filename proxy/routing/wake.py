"""Wakes machines that sleep: Wake-on-LAN, when a request needs one.

The packet goes to the address that the operator configured for that provider, to no
other, once for each sleep; all requests that need the machine share one wait. Whether
it has come up is what its probes say.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from proxy.config.schema_providers import Wake
from proxy.core import clock
from proxy.core.tasks import Tasks
from proxy.routing.catalog import Resolution
from proxy.routing.registry import Provider
from proxy.routing.status import Status

PAUSE_S: Final = 2.0
"""Between two looks at a machine that is coming up."""

_log: Final = logging.getLogger("local_ai.routing")

Address = tuple[str, int]
Send = Callable[[bytes, Address], None]


def magic_packet(mac: str) -> bytes:
    """Make the packet: six bytes 0xFF, then the hardware address sixteen times."""
    address = bytes.fromhex(mac.replace(":", "").replace("-", ""))
    if len(address) != 6:
        raise ValueError("a hardware address has six bytes")
    return b"\xff" * 6 + address * 16


def broadcast(packet: bytes, address: Address) -> None:
    """Send a packet by UDP; raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.sendto(packet, address)


def sleeper(resolution: Resolution) -> Provider | None:
    """Answer who could be woken to serve a name that nobody else can serve now."""
    if resolution.candidates:
        return None
    for candidate in resolution.everyone:
        if is_asleep(candidate.provider):
            return candidate.provider
    return None


def is_asleep(provider: Provider) -> bool:
    """Tell whether a provider is offline and may be woken; a held one may not."""
    return provider.status is Status.OFFLINE and provider.config.wake is not None


class Waker:
    """Wakes and waits. `look` asks a provider how it is, as Health.check does."""

    def __init__(
        self,
        look: Callable[[Provider], Awaitable[None]],
        tasks: Tasks,
        *,
        send: Send = broadcast,
        now: Callable[[], float] = clock.monotonic,
        sleep: Callable[[float], Awaitable[None]] = clock.sleep,
    ) -> None:
        self._look = look
        self._tasks = tasks
        self._send = send
        self._now = now
        self._sleep = sleep
        self._waits: dict[str, asyncio.Task[None]] = {}

    async def up(self, provider: Provider) -> bool:
        """Wake a provider's machine and wait until it is up; False if it stays down.

        Waits `wake.waitSeconds` at most. A caller who leaves does not end the wait of
        the others.
        """
        wake = provider.config.wake
        if wake is None:
            return provider.usable
        wait = self._waits.get(provider.id)
        if wait is None or wait.done():
            wait = self._tasks.start(self._rouse(provider, wake), f"wake {provider.id}")
            self._waits[provider.id] = wait
        await asyncio.wait({wait})
        return provider.usable

    async def _rouse(self, provider: Provider, wake: Wake) -> None:
        ends_at = self._now() + wake.wait_seconds
        try:
            self._send(magic_packet(wake.mac), (wake.broadcast, wake.port))
        except OSError as error:
            # No network to send it on: the machine may come up by another hand.
            _log.warning("provider %s could not be woken: %s", provider.id, error)
        while not provider.usable and self._now() < ends_at:
            await self._sleep(min(PAUSE_S, max(0.0, ends_at - self._now())))
            await self._look(provider)
