"""Providers, their slots, the queue, and those who ask, in a time that tests move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from proxy.config import ProviderConfig
from proxy.config.schema import QueueConfig
from proxy.core.errors import GatewayError
from proxy.routing.model import Candidate
from proxy.routing.queue import Claim, Queue
from proxy.routing.queue.claim import Choose
from proxy.routing.registry import Provider, Registry
from proxy.routing.slots import Lease, Slots
from proxy.state.base import SlotCounts
from proxy.state.memory import MemoryState
from tests.fakes.hand_clock import HandClock
from tests.fakes.kinds import KINDS

MAX_WAIT_S = 60.0


class Guest:
    """One who asks; holds its slot until told to finish."""

    def __init__(self, house: House, claim: Claim) -> None:
        self.claim = claim
        self.asked_at = house.clock.now
        self.served_at: float | None = None
        self.lease: Lease | None = None
        self.error: GatewayError | None = None
        self._house = house
        self._finished = asyncio.Event()
        self.task = asyncio.create_task(self._visit())

    async def _visit(self) -> None:
        try:
            async with self._house.queue.lease(self.claim) as lease:
                self.lease, self.served_at = lease, self._house.clock.now
                self._house.served.append(self)
                await self._finished.wait()
        except GatewayError as error:
            self.error = error

    @property
    def waits(self) -> bool:
        return self.lease is None and self.error is None and not self.task.done()

    @property
    def code(self) -> str | None:
        return None if self.error is None else self.error.code

    @property
    def holder(self) -> str:
        return self.claim.holder

    async def finish(self) -> None:
        self._finished.set()
        await turn()

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        await turn()


class House:
    """`served` are the guests in the order in which they got their slots."""

    def __init__(
        self,
        slots: int | None = 1,
        *,
        max_length: int = 256,
        max_wait_s: float = MAX_WAIT_S,
        counts: SlotCounts | None = None,
        may_serve: Callable[[Candidate], bool] = lambda _: True,
    ) -> None:
        self.clock = HandClock()
        self.registry = Registry((provider("gpu", slots),), KINDS)
        counts = MemoryState(self.clock).slots if counts is None else counts
        self.slots = Slots(self.registry, counts, self.clock)
        self.queue = Queue(
            self.slots,
            QueueConfig(max_length=max_length, max_wait_seconds=max_wait_s),
            self.clock.ticker,
            self.clock,
            may_serve,
        )
        self.served: list[Guest] = []
        self.guests: list[Guest] = []

    def provider(self, id_: str = "gpu") -> Provider:
        found = self.registry.get(id_)
        assert found is not None
        return found

    def load(self, *configs: ProviderConfig) -> None:
        self.registry.load(configs)
        self.queue.reconsider()

    def at(self, id_: str = "gpu", model: str = "qwen") -> Candidate:
        return Candidate(self.provider(id_), model)

    async def ask(
        self,
        holder: str = "key",
        *candidates: Candidate,
        priority: int = 1,
        model: str = "qwen",
        max_wait_s: float | None = None,
        choose: Choose | None = None,
    ) -> Guest:
        """Let somebody ask for a slot, and get it if there is one."""
        claim = Claim(
            candidates or (self.at(model=model),), holder, priority, max_wait_s, choose
        )
        guest = Guest(self, claim)
        self.guests.append(guest)
        await turn()
        return guest

    async def serve_next(self) -> Guest:
        """End the visit that began last but is not over; answer who came in."""
        before = len(self.served)
        await self.served[-1].finish()
        assert len(self.served) == before + 1, "nobody came in"
        return self.served[-1]

    async def order(self, count: int) -> list[str]:
        """Serve so many, one after the other; answer their holders."""
        return [(await self.serve_next()).holder for _ in range(count)]

    async def pass_by(self, seconds: float) -> None:
        self.clock.pass_by(seconds)
        await turn()

    async def close(self) -> None:
        for guest in self.guests:
            guest.task.cancel()
        if self.guests:
            await asyncio.wait([guest.task for guest in self.guests])

    def assert_empty(self) -> None:
        """Every gauge is back at zero."""
        assert len(self.queue) == 0
        assert self.queue.presence() == (0, 0.0)
        assert not self.queue._crowd.lines
        assert not self.queue._crowd._places
        assert len(self.clock.ticker) == 0
        assert [p.active for p in self.registry.providers if p.active] == []
        assert len(self.slots._counts) == 0  # type: ignore[arg-type]


def provider(id_: str, slots: int | None, **more: object) -> ProviderConfig:
    base = ProviderConfig(
        id=id_,
        kind="vllm",
        endpoint=f"http://{id_}.lan",
        max_concurrent=slots,
        max_concurrent_given=True,
    )
    return replace(base, **more)  # type: ignore[arg-type]


async def turn() -> None:
    """Let everybody go on who can."""
    for _ in range(4):
        await asyncio.sleep(0)
