"""How whoever needs a slot asks for it."""

from __future__ import annotations

import asyncio

from proxy.state.base import Bound
from proxy.state.valkey.state import ValkeyState

WAIT_S = 10.0


class Asker:
    """Asks one state for slots, and again whenever there is news."""

    def __init__(self, state: ValkeyState) -> None:
        self._slots = state.slots
        self._told = asyncio.Event()
        state.slots.watch(self._told.set)

    async def ask(self, *bounds: Bound) -> bool:
        """Take once; wait for the answer only."""
        async with asyncio.timeout(WAIT_S):
            while (taken := self._slots.try_take(bounds)) is None:
                self._told.clear()
                await self._told.wait()
        return taken

    async def wait(self, *bounds: Bound) -> None:
        """Wait until there is one."""
        async with asyncio.timeout(WAIT_S):
            while not self._slots.try_take(bounds):
                self._told.clear()
                await self._told.wait()

    def give_back(self, *bounds: Bound) -> None:
        """Give back, and let whoever waits here ask again."""
        self._slots.give_back(bounds)
        self._told.set()
