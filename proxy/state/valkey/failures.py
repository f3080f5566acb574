"""What the server did not do of what can be done without, by kind: counted and told.

Nobody who asked hears of it, so operators must: in a metric, and in the log, but not
for each of thousands of requests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from proxy.core import clock

TELL_AGAIN_S: Final = 60.0
_log: Final = logging.getLogger("local_ai.state")


class Failures:
    """`counts` are since the start, by kind: blobs, turns."""

    def __init__(self, now: Callable[[], float] = clock.monotonic) -> None:
        self.counts = {"blobs": 0, "turns": 0}
        self._now = now
        self._told_at: dict[str, float] = {}

    def note(self, kind: str, error: BaseException) -> None:
        self.counts[kind] += 1
        now = self._now()
        if now - self._told_at.get(kind, float("-inf")) < TELL_AGAIN_S:
            return
        self._told_at[kind] = now
        said = str(error) or type(error).__name__
        _log.warning("the shared state did not answer for %s: %s", kind, said)
