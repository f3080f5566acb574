"""What a request asks of the queue, and what the queue knows of it while it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from proxy.core.errors import GatewayError
from proxy.routing.model import Candidate
from proxy.routing.queue.priorities import USUAL
from proxy.routing.slots import Lease

OVERTAKES: Final = 4
"""How often requests for the loaded model may go ahead of one that needs a swap."""

OVERTAKEN_FOR: Final = 0.75
"""… and for what share of the time it may wait at all."""

Choose = Callable[[], tuple[Candidate, ...]]


class Claim(Struct):
    """What one request asks for. Never changed (not frozen: built per request).

    `candidates` in order of preference; `holder` is whom waiting is fair between, a
    key or a tenant; of `priority` the lower goes first. `max_wait_s` is the queue's
    own where it is None. `choose` is asked for other candidates after every change
    of the providers; what it raises ends the wait.
    """

    candidates: tuple[Candidate, ...]
    holder: str
    priority: int = USUAL
    max_wait_s: float | None = None
    choose: Choose | None = None


class Waiter:
    """A claim that waits. `number` grows with each that comes; from `late_at` on, half
    of its time being over, it counts as first.

    `answer` gets a lease or the error that ends the wait. An error is a result too:
    nobody may be left to fetch an exception.
    """

    __slots__ = (
        "answer", "candidates", "claim", "joined_at", "late_at", "max_wait_s", "number",
        "overtaken",
    )  # fmt: skip

    def __init__(
        self,
        claim: Claim,
        number: int,
        joined_at: float,
        max_wait_s: float,
        answer: asyncio.Future[Lease | GatewayError],
    ) -> None:
        self.claim: Final = claim
        self.number: Final = number
        self.joined_at: Final = joined_at
        self.max_wait_s: Final = max_wait_s
        self.late_at: Final = joined_at + max_wait_s / 2
        self.answer: Final = answer
        self.candidates = claim.candidates
        self.overtaken = 0

    def is_over(self, now: float) -> bool:
        return now >= self.joined_at + self.max_wait_s

    def may_be_overtaken(self, now: float) -> bool:
        """Tell whether the loaded model may still be used before it gets a swap."""
        until = self.joined_at + self.max_wait_s * OVERTAKEN_FOR
        return self.overtaken < OVERTAKES and now < until
