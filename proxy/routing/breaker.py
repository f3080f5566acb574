"""Keeps requests from a model, or a whole provider, that fails again and again.

A lifecycle for each (provider, upstream model), and for each provider: closed, open
for a while, then half-open, where exactly one real request shows whether it is well
again. How long it stays open is a cooldown in the shared state, so that it never
gets shorter and other processes see it. Who was never seen to fail costs a look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from proxy.core import clock
from proxy.state.base import Cooldowns, Where

THRESHOLD: Final = 5
WINDOW_S: Final = 30.0
"""So many failures within the window open it, if half of the requests failed."""

FIRST_COOLDOWN_S: Final = 5.0
LONGEST_COOLDOWN_S: Final = 120.0
PROBE_S: Final = 600.0
"""A probe that nobody has reported on for so long is taken for lost."""

ENTRIES: Final = 4096


class Circuit(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(StrEnum):
    TRIPPED = "tripped"  # failures have reached the threshold
    COOLED = "cooled"  # the cooldown is over
    FAILED = "failed"  # the probe failed
    PASSED = "passed"  # the probe was served


TRANSITIONS: Final[Mapping[tuple[Circuit, Event], Circuit]] = MappingProxyType({
    (Circuit.CLOSED, Event.TRIPPED): Circuit.OPEN,
    (Circuit.OPEN, Event.COOLED): Circuit.HALF_OPEN,
    (Circuit.HALF_OPEN, Event.FAILED): Circuit.OPEN,
    (Circuit.HALF_OPEN, Event.PASSED): Circuit.CLOSED,
})  # fmt: skip


class _Track(Struct):
    """What is known of one place; successes count only from its first failure on."""

    since: float
    circuit: Circuit = Circuit.CLOSED
    failures: int = 0
    successes: int = 0
    cooldown_s: float = 0.0
    probing_since: float | None = None

    def take(self, event: Event) -> None:
        self.circuit = TRANSITIONS[self.circuit, event]


class Breaker:
    """`quiet` while nothing has failed lately: then nobody need ask more. `tracks` are
    all that have, whatever their state is now.
    """

    def __init__(
        self, cooldowns: Cooldowns, now: Callable[[], float] = clock.monotonic
    ) -> None:
        self._cooldowns = cooldowns
        self._now = now
        self.tracks: dict[Where, _Track] = {}

    @property
    def quiet(self) -> bool:
        return not self.tracks

    @property
    def places(self) -> tuple[Where, ...]:
        """All that has failed of late, whatever its state is now."""
        return tuple(self.tracks)

    def state(self, where: Where) -> Circuit:
        """Answer the state as of now: an open one is half-open once it has cooled."""
        track = self.tracks.get(where)
        if track is None:
            return Circuit.CLOSED
        if track.circuit is Circuit.OPEN and not self._cooldowns.remaining_s(where):
            track.take(Event.COOLED)
        return track.circuit

    def allows(self, where: Where) -> bool:
        """Tell whether a request could go there now; changes nothing."""
        if where not in self.tracks:
            return True
        state = self.state(where)
        if state is Circuit.HALF_OPEN:
            return not self._is_probing(self.tracks[where])
        return state is Circuit.CLOSED

    def try_enter(self, where: Where) -> bool:
        """Take the place of the one probe where that is needed; False if it is taken.

        Whoever entered reports by `passed`, `failed` or `let_go`.
        """
        if where not in self.tracks:
            return True
        if not self.allows(where):
            return False
        track = self.tracks[where]
        if track.circuit is Circuit.HALF_OPEN:
            track.probing_since = self._now()
        return True

    def passed(self, where: Where) -> None:
        """Note that a request was served."""
        track = self.tracks.get(where)
        if track is None:
            return
        if self.state(where) is Circuit.HALF_OPEN:
            track.take(Event.PASSED)
            del self.tracks[where]
        elif track.circuit is Circuit.CLOSED:
            track.successes += 1
            if self._now() - track.since > WINDOW_S:
                del self.tracks[where]

    def failed(self, where: Where, retry_after_s: float = 0.0) -> None:
        """Note a failure of the provider's; what the caller did wrong never is one."""
        now = self._now()
        track = self.tracks.get(where)
        if track is None:
            self._make_room()
            track = self.tracks[where] = _Track(now)
        match self.state(where):
            case Circuit.HALF_OPEN:
                track.take(Event.FAILED)
                self._open(where, track, retry_after_s)
            case Circuit.CLOSED:
                if now - track.since > WINDOW_S:
                    track.since, track.failures, track.successes = now, 0, 0
                track.failures += 1
                if track.failures >= max(THRESHOLD, track.successes):
                    track.take(Event.TRIPPED)
                    self._open(where, track, retry_after_s)
            case Circuit.OPEN:
                pass  # it was under way when it opened: no news

    def let_go(self, where: Where) -> None:
        """Give the probe's place back: how it ended says nothing of the provider."""
        track = self.tracks.get(where)
        if track is not None:
            track.probing_since = None

    def close(self, where: Where) -> None:
        """Forget what was held against it: it has been seen to be well."""
        if self.tracks.pop(where, None) is not None:
            self._cooldowns.end(where)

    def is_ailing(self, where: Where) -> bool:
        """Tell whether it has failed lately: idle it may be, but not a good choice."""
        track = self.tracks.get(where)
        if track is None:
            return False
        if track.circuit is Circuit.CLOSED:
            return self._now() - track.since <= WINDOW_S
        return True

    def _is_probing(self, track: _Track) -> bool:
        since = track.probing_since
        return since is not None and self._now() - since < PROBE_S

    def _open(self, where: Where, track: _Track, retry_after_s: float) -> None:
        track.probing_since = None
        track.failures = track.successes = 0
        track.cooldown_s = min(
            max(track.cooldown_s * 2, FIRST_COOLDOWN_S, retry_after_s),
            LONGEST_COOLDOWN_S,
        )
        self._cooldowns.start(where, track.cooldown_s)

    def _make_room(self) -> None:
        """Forget the oldest: with wildcards, callers name upstream models as they like."""
        if len(self.tracks) >= ENTRIES:
            del self.tracks[next(iter(self.tracks))]
