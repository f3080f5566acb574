"""Facts of several processes: each has a copy, and tells the others what it writes.

Reading asks nobody. What is written holds here at once, and elsewhere as soon as the
news is there; news that is lost is not made up for but for cooldowns, which whoever
joins is told. A fact that is written again unchanged is told again only now and then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

import orjson

from proxy.state.base import Where
from proxy.state.memory import MemoryAffinity, MemoryCooldowns, MemoryHealth, Now
from proxy.state.valkey.link import News
from proxy.state.valkey.post import Send

K = TypeVar("K")
V = TypeVar("V")

MOST_UNSAID: Final = 4096
"""News that wait to be told; of more, the oldest are dropped."""

PER_EXCHANGE: Final = 256
REPEAT_S: Final = 60.0


class Herald:
    """Tells the others what is new: of each fact the latest."""

    def __init__(self, process: str, ring: Callable[[], None]) -> None:
        self._process = process
        self._ring = ring
        self._unsaid: OrderedDict[tuple[str, Hashable], tuple[Any, ...]] = OrderedDict()

    def tell(self, kind: str, about: Hashable, *words: Any) -> None:
        self._unsaid[kind, about] = words
        self._unsaid.move_to_end((kind, about))
        if len(self._unsaid) > MOST_UNSAID:
            self._unsaid.popitem(last=False)
        self._ring()

    def speak(self, send: Send) -> None:
        for _ in range(min(len(self._unsaid), PER_EXCHANGE)):
            (kind, _), words = self._unsaid.popitem(last=False)
            said = orjson.dumps([kind, self._process, *words]).decode()
            send(("PUBLISH", (), (said,)), _no_answer)
        if self._unsaid:
            self._ring()


class SharedCooldowns(MemoryCooldowns):
    def __init__(
        self, now: Now, entries: int, longest_s: float, herald: Herald
    ) -> None:
        super().__init__(now, entries, longest_s)
        self._herald = herald

    def start(self, where: Where, seconds: float) -> float:
        remaining_s = super().start(where, seconds)
        if remaining_s > 0.0:
            self._herald.tell("cool", where, *where, remaining_s)
        return remaining_s

    def end(self, where: Where) -> None:
        if where in self.resting:
            self._herald.tell("cool", where, *where, 0.0)
        super().end(where)

    def take_over(self, where: Where, seconds: float) -> None:
        """Do as another process did."""
        if seconds > 0.0:
            super().start(where, seconds)
        else:
            super().end(where)

    def tell_all(self) -> None:
        now = self._now()
        for where, ends_at in self.resting.items():
            if ends_at > now:
                self._herald.tell("cool", where, *where, ends_at - now)


class SharedHealth(MemoryHealth):
    def __init__(self, now: Now, entries: int, herald: Herald) -> None:
        super().__init__(now, entries)
        self._herald = herald
        self._told: OrderedDict[Where, tuple[str, int, float]] = OrderedDict()

    def note(self, where: Where, status: str, *, failed: bool) -> int:
        failures = super().note(where, status, failed=failed)
        told = self._told.get(where)
        now = self._now()
        if told is None or told[:2] != (status, failures) or now - told[2] >= REPEAT_S:
            _put(self._told, where, (status, failures, now), self._entries)
            self._herald.tell("seen", where, *where, status, failures)
        return failures

    def forget(self, where: Where) -> None:
        super().forget(where)
        self._told.pop(where, None)
        self._herald.tell("seen", where, *where, "", 0)

    def take_over(self, where: Where, status: str, failures: int) -> None:
        """Know what another process saw; without a status, forget it."""
        self._told.pop(where, None)
        if status:
            _put(self._seen, where, (status, failures, self._now()), self._entries)
        else:
            super().forget(where)


class SharedAffinity(MemoryAffinity):
    def __init__(self, now: Now, entries: int, ttl_s: float, herald: Herald) -> None:
        super().__init__(now, entries, ttl_s)
        self._herald = herald
        self._told: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def put(self, key: str, provider_id: str) -> None:
        super().put(key, provider_id)
        told, now = self._told.get(key), self._now()
        if (
            told is None
            or told[0] != provider_id
            or now - told[1] >= min(REPEAT_S, self._ttl_s / 4)
        ):
            _put(self._told, key, (provider_id, now), self._entries)
            self._herald.tell("home", key, key, provider_id)

    def forget(self, key: str) -> None:
        if self.get(key) is not None:
            self._herald.tell("home", key, key, "")
        self._told.pop(key, None)
        super().forget(key)

    def take_over(self, key: str, provider_id: str) -> None:
        """Do as another process did; without a provider, forget the key."""
        self._told.pop(key, None)
        if provider_id:
            super().put(key, provider_id)
        else:
            super().forget(key)


class Facts:
    """All facts, as one part of a post."""

    def __init__(
        self,
        herald: Herald,
        process: str,
        cooldowns: SharedCooldowns,
        health: SharedHealth,
        affinity: SharedAffinity,
    ) -> None:
        self.cooldowns = cooldowns
        self.health = health
        self.affinity = affinity
        self._herald = herald
        self._process = process
        self._has_greeted = False

    def beat(self, send: Send) -> None:
        """Facts are told when they are new."""

    def speak(self, send: Send) -> None:
        if not self._has_greeted:
            self._has_greeted = True
            self._herald.tell("hello", None)
            self.cooldowns.tell_all()
        self._herald.speak(send)

    def answered(self) -> None:
        """Nothing is asked."""

    def hear(self, news: News) -> None:
        if news[1] == self._process:
            return
        match news:
            case ["hello", _]:
                self.cooldowns.tell_all()
            case ["cool", _, str(id_), str() | None as model, float(seconds)]:
                self.cooldowns.take_over(Where(id_, model), seconds)
            case ["seen", _, str(id_), str() | None as model, str(status), int(count)]:
                self.health.take_over(Where(id_, model), status, count)
            case ["home", _, str(key), str(provider_id)]:
                self.affinity.take_over(key, provider_id)

    def lose(self) -> None:
        """Whoever comes back has missed something, and so have the others."""
        self._has_greeted = False


def _put(entries: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    entries[key] = value
    entries.move_to_end(key)
    if len(entries) > most:
        entries.popitem(last=False)


def _no_answer(_: Any) -> None:
    """Nothing is told back."""
