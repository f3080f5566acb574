"""What stands for the state in the contract: each implementation, by name.

A new one adds a factory here; it gets a clock that the test moves, the most that a
map may hold, and the cap and time to live that the suite counts with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

import pytest

from proxy.state.base import State
from proxy.state.memory import MemoryState
from tests.fakes.hand_clock import HandClock

ENTRIES: Final = 100
LONGEST_COOLDOWN_S: Final = 300.0
AFFINITY_TTL_S: Final = 60.0


def memory(clock: HandClock) -> State:
    return MemoryState(
        clock,
        entries=ENTRIES,
        longest_cooldown_s=LONGEST_COOLDOWN_S,
        affinity_ttl_s=AFFINITY_TTL_S,
    )


FACTORIES: Final[dict[str, Callable[[HandClock], State]]] = {"memory": memory}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=FACTORIES)
async def state(
    request: pytest.FixtureRequest, clock: HandClock
) -> AsyncIterator[State]:
    async with FACTORIES[request.param](clock) as state:
        yield state
