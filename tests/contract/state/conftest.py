"""What stands for the state in the contract: each implementation, by name.

A new one adds a factory here; it gets a clock that the test moves, the most that a
map may hold, and the cap and time to live that the suite counts with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import pytest

from proxy.state.base import State
from proxy.state.memory import MemoryState
from proxy.state.valkey.state import ValkeyState
from tests.fakes.hand_clock import HandClock
from tests.parts.valkey import Valkey, valkey

ENTRIES: Final = 100
LONGEST_COOLDOWN_S: Final = 300.0
AFFINITY_TTL_S: Final = 60.0


def memory(clock: HandClock, _: pytest.FixtureRequest) -> State:
    return MemoryState(
        clock,
        entries=ENTRIES,
        longest_cooldown_s=LONGEST_COOLDOWN_S,
        affinity_ttl_s=AFFINITY_TTL_S,
        wall=clock,
    )


def at_a_server(clock: HandClock, request: pytest.FixtureRequest) -> State:
    server: Valkey = request.getfixturevalue("server")
    return ValkeyState(
        server.new_database(),
        now=clock,
        entries=ENTRIES,
        longest_cooldown_s=LONGEST_COOLDOWN_S,
        affinity_ttl_s=AFFINITY_TTL_S,
    )


FACTORIES: Final[dict[str, Callable[[HandClock, pytest.FixtureRequest], State]]] = {
    "memory": memory,
    "valkey": at_a_server,
}


@pytest.fixture(scope="session")
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=FACTORIES)
async def state(
    request: pytest.FixtureRequest, clock: HandClock
) -> AsyncIterator[State]:
    async with FACTORIES[request.param](clock, request) as state:
        yield state
