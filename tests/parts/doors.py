"""Which door of the gateway a test goes through, checked by the gateway's own count."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from proxy.routes import ROUTES
from tests.parts.gateway import Gateway

DIRECT, FAST, ORDINARY = PLACES = ("direct", "fast door", "ordinary door")
HOT = {row.operation for row in ROUTES if row.hot}
WAIT_S = 5.0


@contextmanager
def by_door(door: str, running: Gateway, calls: Callable[[], float]) -> Iterator[None]:
    """Check that all calls made within the block went through this door.

    `calls` answers how many there have been until now.
    """
    calls_before, taken_before = calls(), taken(running)
    yield

    def is_so() -> bool:
        made = calls() - calls_before if door == FAST else 0
        return taken(running) - taken_before == made

    deadline = time.monotonic() + WAIT_S
    while not is_so():  # calls are counted when they have ended
        assert time.monotonic() < deadline, f"not all calls took the {door}"
        time.sleep(0.02)


def taken(running: Gateway) -> float:
    """How many requests the fast door has taken."""
    counts = running.counts("local_ai_fast_path_total")
    return sum(n for labels, n in counts.items() if 'taken="true"' in labels)


def model_calls(running: Gateway) -> float:
    """How many calls of operations with hot rows have ended."""
    counts = running.counts("local_ai_requests_total")
    return sum(
        n
        for labels, n in counts.items()
        if any(f'endpoint="{operation}"' in labels for operation in HOT)
    )
