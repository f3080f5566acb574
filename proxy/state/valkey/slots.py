"""Slots of several processes: taken at the server, counted here.

What is asked for is gathered by bounds. What the server grants is spare until whoever
watches takes it, and goes back soon if nobody does. Bounds without a limit are counted
here alone and told with the heartbeat, so that they cost nothing. The server has the
count of each process as that process last said it: a lost answer, a lost server or a
lost process is made good by saying it again, or by no longer saying it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from proxy.core import clock
from proxy.state.base import Bound
from proxy.state.valkey.link import Command, News
from proxy.state.valkey.post import BEAT_S, Send
from proxy.state.valkey.scripts import BEAT, TAKE, TELL, WAIVE
from proxy.state.valkey.standing import Standing

LEASE_BEATS: Final = 6
"""For how many heartbeats that are missed a process still counts as alive."""

WANT_S: Final = 10.0
SPARE_S: Final = 0.05
"""What is granted and not taken up for so long goes back; so does a place in line."""

MOST_ASKED: Final = 256
"""Different bounds that are asked about at once; the others a moment later."""

MOST_WAITING: Final = 4096

FOREVER: Final = float("inf")

Bounds = tuple[Bound, ...]


class ValkeySlots:
    """`process` is the name under which this one holds what it holds."""

    def __init__(
        self,
        process: str,
        standing: Standing,
        ring: Callable[[], None],
        beat_s: float = BEAT_S,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._process = process
        self._lease_ms = round(LEASE_BEATS * beat_s * 1000)
        self._standing = standing
        self._ring = ring
        self._now = now
        self._mine: defaultdict[str, int] = defaultdict(int)  # with what is spare
        self._spare: dict[Bounds, tuple[int, float]] = {}  # how many, until when
        self._others: dict[str, int] = {}  # what others hold, where it was too much
        self._asked: defaultdict[Bounds, int] = defaultdict(int)
        self._asking: dict[Bounds, int] = {}
        self._changed: set[str] = set()
        self._wanted: set[str] = set()  # what the server knows us to wait for
        self._waived: dict[str, float] = {}  # from when on, unless it is asked for
        self._watchers: list[Callable[[], None]] = []

    # -- SlotCounts ------------------------------------------------------------------

    def place(self, bounds: Bounds) -> SharedPlace:
        return SharedPlace(self, bounds)

    def try_take(self, bounds: Bounds, *, ask: bool = True) -> bool | None:
        if self._spare and bounds in self._spare:
            self._take_spare(bounds)
            return True
        if not self.has_room(bounds):
            return False
        if all(limit is None for _, limit in bounds):
            self._add(bounds, 1)
            return True
        if self._standing.is_away:
            self._standing.alone["slots"] += 1
            self._add(bounds, 1)
            return True
        return self.ask(bounds) if ask else None

    def ask(self, bounds: Bounds) -> bool | None:
        """Have the server asked for one; False where too many wait for its answers."""
        if len(self._asked) >= MOST_WAITING:
            return False
        self._asked[bounds] += 1
        for key, _ in bounds if self._waived else ():
            self._waived.pop(key, None)
        self._ring()
        return None

    def give_back(self, bounds: Bounds) -> None:
        self._add(bounds, -1)
        if any(limit is not None for _, limit in bounds):
            self._changed.update(key for key, _ in bounds)
            self._ring()

    def has_room(self, bounds: Bounds) -> bool:
        if self._spare and bounds in self._spare:
            return True
        mine, others, is_away = self._mine, self._others, self._standing.is_away
        for key, limit in bounds:
            if limit is not None:
                room = self._standing.share(limit) if is_away else limit
                if mine.get(key, 0) + others.get(key, 0) >= room:
                    return False
        return True

    def is_asked(self, bounds: Bounds) -> bool:
        if bounds in self._spare:  # whatever else is asked, this can be had
            return False
        return bounds in self._asked or bounds in self._asking

    def held(self, key: str) -> int:
        spare = sum(
            count
            for bounds, (count, _) in self._spare.items()
            for name, _ in bounds
            if name == key
        )
        return self._mine.get(key, 0) - spare

    def watch(self, callback: Callable[[], None]) -> None:
        self._watchers.append(callback)

    # -- Part of a post --------------------------------------------------------------

    def beat(self, send: Send) -> None:
        """Say all that is held, and look anew at what was full."""
        said: list[str | float] = [self._process, self._lease_ms]
        for key, count in self._mine.items():
            said += (key, count)
        self._changed.clear()
        send((BEAT, (), tuple(said)), self._standing.count)
        self._forget_others("")

    def speak(self, send: Send) -> None:
        self._return_spare(self._now())
        if self._changed:
            told: list[str | float] = [self._process, self._lease_ms]
            for key in self._changed:
                told += (key, self._mine.get(key, 0))
            self._changed.clear()
            send((TELL, (), tuple(told)), _no_answer)
        waived = [key for key, due in self._waived.items() if due <= self._now()]
        if waived:
            for key in waived:
                del self._waived[key]
            self._wanted.difference_update(waived)
            send((WAIVE, (), (self._process, *waived)), _no_answer)
        for bounds in tuple(self._asked)[:MOST_ASKED]:
            self._asking[bounds] = count = self._asked.pop(bounds)
            send(self._question(bounds, count), self._answer_to(bounds, count))
        if self._asked:
            self._ring()

    def answered(self) -> None:
        self._notify()
        if self._spare:
            self._ring_later()

    def hear(self, news: News) -> None:
        """Somebody has given back what was wanted, by us or by others."""
        match news:
            case ["free", _, str(key)]:
                self._forget_others(key)

    def lose(self) -> None:
        for one in (self._asked, self._asking, self._others):
            one.clear()
        self._wanted.clear()
        self._waived.clear()
        self._return_spare(FOREVER)
        self._notify()

    # -- counting ----------------------------------------------------------------------

    def _add(self, bounds: Bounds, count: int) -> None:
        for key, _ in bounds:
            mine = self._mine[key] + count
            if mine:
                self._mine[key] = mine
            else:
                del self._mine[key]

    def _take_spare(self, bounds: Bounds) -> None:
        count, until = self._spare.pop(bounds)
        if count > 1:
            self._spare[bounds] = count - 1, until

    def _return_spare(self, now: float) -> None:
        for bounds, (count, until) in tuple(self._spare.items()):
            if until <= now:
                del self._spare[bounds]
                self._add(bounds, -count)
                self._changed.update(key for key, _ in bounds)

    # -- asking --------------------------------------------------------------------------

    def _question(self, bounds: Bounds, count: int) -> Command:
        asked: list[str | float] = [
            self._process, self._lease_ms, count, round(WANT_S * 1000)
        ]  # fmt: skip
        for key, limit in bounds:
            if limit is None:
                asked += (key, -1, -1)
            else:
                asked += (key, limit, self._standing.ceiling(limit))
        return TAKE, (), tuple(asked)

    def _answer_to(self, bounds: Bounds, count: int) -> Callable[[Any], None]:
        def answer(reply: list[int]) -> None:
            self._asking.pop(bounds, None)
            granted = reply[0]
            if granted:
                self._add(bounds, granted)
                spare, _ = self._spare.get(bounds, (0, 0.0))
                self._spare[bounds] = spare + granted, self._now() + SPARE_S
            limited = [key for key, limit in bounds if limit is not None]
            if granted == count:
                self._wanted.difference_update(limited)
                return
            self._wanted.update(limited)
            for (key, limit), others in zip(bounds, reply[1:], strict=True):
                if limit is not None:
                    self._others[key] = others

        return answer

    def _forget_others(self, key: str) -> None:
        """Let it be asked for again; what nobody here asks for is left to others."""
        if key:
            self._others.pop(key, None)
        else:
            self._others.clear()
        self._notify()
        wanted = self._wanted & {key} if key else set(self._wanted)
        for bounds in (*self._asked, *self._asking):
            wanted.difference_update(key for key, _ in bounds)
        for waived in wanted:
            self._waived.setdefault(waived, self._now() + SPARE_S)
        if wanted:
            self._ring_later()

    def _ring_later(self) -> None:
        asyncio.get_running_loop().call_later(2 * SPARE_S, self._ring)

    def _notify(self) -> None:
        for callback in self._watchers:
            callback()


class SharedPlace:
    """Bounds by which the server is asked."""

    __slots__ = ("_bounds", "_slots")

    def __init__(self, slots: ValkeySlots, bounds: Bounds) -> None:
        self._slots = slots
        self._bounds = bounds

    def try_take(self) -> bool | None:
        return self._slots.try_take(self._bounds, ask=False)

    def ask(self) -> None:
        if self._slots.has_room(self._bounds):
            self._slots.ask(self._bounds)

    def give_back(self) -> None:
        self._slots.give_back(self._bounds)


def _no_answer(_: Any) -> None:
    """Nothing is told back."""
