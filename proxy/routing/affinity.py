"""Sends what belongs together where it was served before: prefix caches hit there.

A session that the caller names, or else the beginning of the conversation, decides
among equal candidates. A conversation goes on where it was (its prefix is hashed
message by message, so a later turn finds the former one's); a new one goes by
rendezvous hashing on its first message, or in the order of the operator's list, and
past whoever carries more than its share. Only where there are two equal candidates
is any of this worked out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from providers.wire.members import Members, WrongType
from providers.wire.turns import opening, turns
from proxy.core import clock
from proxy.core.types import Headers
from proxy.routing.model import Candidate
from proxy.state.base import Affinities, Where

SLACK: Final = 1.1
"""A new conversation passes over whoever would then carry more than this times its
share, of conversations or of requests; well below the 1.25 that an uneven future may
make of it."""

MOVING_SLACK: Final = 1.2
BUSY_FROM: Final = 8
MOVING_FROM: Final = 4
"""A conversation leaves its place only where this much more than a share is carried,
of at least so many requests under way or so many conversations: a cold cache costs
more than a little waiting, and few that talk a lot stay where they are."""

HALF_LIFE_S: Final = 300.0
_CROWDED: Final = 1_000_000.0
_MOST_LOADS: Final = 4096
_DIGEST: Final = 16
_LONGEST_SESSION: Final = 512
_HEADERS: Final = ("x-session-id", "x-session-affinity")
_FIELDS: Final = ("session_id", "prompt_cache_key", "previous_response_id")


class Marks(Struct, frozen=True):
    """What a request can be recognised by, as keys for a memory.

    `chain` has one key for each piece of the conversation and all before it, the
    shortest first. With a `session` it is empty.
    """

    session: str | None = None
    chain: tuple[str, ...] = ()


NO_MARKS: Final = Marks()


def marks(tenant: str, model: str, headers: Headers, members: Members | None) -> Marks:
    """Read the marks of a request; of another tenant or model they are others."""
    start = hashlib.blake2b(f"{tenant}\0{model}\0".encode(), digest_size=_DIGEST)
    session = _session(headers, members)
    if session is not None:
        start.update(b"session\0" + session.encode("utf-8", "surrogatepass"))
        return Marks(session=start.hexdigest())
    if members is None:
        return NO_MARKS
    start.update(opening(members))
    chain = []
    for piece in turns(members):
        start.update(b"%d\0%b" % (len(piece), piece))
        chain.append(start.hexdigest())
    return Marks(chain=tuple(chain))


def cache_salt(tenant: str, secret: bytes) -> str:
    """Make the prefix-cache salt of a tenant: nobody can guess another's.

    The same `secret` (at most 64 bytes) gives the same salts after a restart.
    """
    return hashlib.blake2b(
        tenant.encode(), key=secret, digest_size=_DIGEST, person=b"cache-salt"
    ).hexdigest()


class Affinity:
    """Orders equal candidates, and remembers who served what."""

    def __init__(
        self, memory: Affinities, now: Callable[[], float] = clock.monotonic
    ) -> None:
        self._memory = memory
        self._now = now
        self._loads: dict[Where, _Load] = {}

    def arrange(
        self, equals: Sequence[Candidate], marks: Marks
    ) -> tuple[Candidate, ...]:
        """Order equals, the one that the request belongs to first."""
        home = self.home(equals, marks)
        if home is None:
            return self.place(equals, marks)
        return (home, *(c for c in equals if c is not home))

    def home(self, equals: Sequence[Candidate], marks: Marks) -> Candidate | None:
        """Answer who served what this request goes on with, if that one has room."""
        home = self._home(equals, marks)
        return None if home is None or self._is_overrun(home, equals) else home

    def place(self, equals: Sequence[Candidate], marks: Marks) -> tuple[Candidate, ...]:
        """Order equals for what begins anew; who carries its share already is last."""
        ordered = self._by_preference(equals, marks)
        return tuple(sorted(ordered, key=self._excess_over(equals)))

    def served(self, candidate: Candidate, marks: Marks) -> None:
        """Note who serves a request that was arranged: it goes on there."""
        load = self._load(candidate)
        load.requests += 1.0
        if self._home((candidate,), marks) is None:
            load.conversations += 1.0
        key = marks.session or (marks.chain[-1] if marks.chain else None)
        if key is not None:
            self._memory.put(key, candidate.provider.id)

    def _home(self, equals: Sequence[Candidate], marks: Marks) -> Candidate | None:
        keys = (marks.session,) if marks.session else reversed(marks.chain)
        for key in keys:
            served_by = self._memory.get(key)
            for candidate in equals:
                if candidate.provider.id == served_by:
                    return candidate
        return None

    def _by_preference(
        self, equals: Sequence[Candidate], marks: Marks
    ) -> Sequence[Candidate]:
        key = marks.session or (marks.chain[0] if marks.chain else None)
        if key is None or equals[0].model is not None:
            # A configured list is in order of preference.
            return equals
        return sorted(equals, key=lambda c: _weight(key, c), reverse=True)

    def _excess_over(self, equals: Sequence[Candidate]) -> Callable[[Candidate], float]:
        """Answer how far each would be above its share; 0.0 for who is not."""
        loads = {c.where: self._load(c) for c in equals}
        conversations = sum(load.conversations for load in loads.values())
        requests = sum(load.requests for load in loads.values())

        def excess(candidate: Candidate) -> float:
            if self._is_crowded(candidate, equals):
                return _CROWDED + candidate.provider.active
            load = loads[candidate.where]
            return max(
                _excess(load.conversations, conversations, len(equals)),
                _excess(load.requests, requests, len(equals)),
            )

        return excess

    def _is_overrun(self, candidate: Candidate, equals: Sequence[Candidate]) -> bool:
        """Tell whether it carries so much that even what belongs there goes on."""
        if self._is_crowded(candidate, equals):
            return True
        load = self._load(candidate)
        if load.conversations < MOVING_FROM:
            return False
        requests = sum(self._load(c).requests for c in equals)
        return load.requests + 1 > MOVING_SLACK * (requests + 1) / len(equals)

    def _is_crowded(self, candidate: Candidate, equals: Sequence[Candidate]) -> bool:
        active = candidate.provider.active
        if active < BUSY_FROM:
            return False
        total = sum(c.provider.active for c in equals)
        return active + 1 > MOVING_SLACK * (total + 1) / len(equals)

    def _load(self, candidate: Candidate) -> _Load:
        """Answer what it has carried of late, as of now."""
        now = self._now()
        load = self._loads.get(candidate.where)
        if load is None:
            if len(self._loads) >= _MOST_LOADS:
                self._loads.clear()  # wildcards of many names: it is a heuristic
            load = self._loads[candidate.where] = _Load(now)
        load.fade(now)
        return load


class _Load(Struct):
    """What a candidate has carried; it counts half after HALF_LIFE_S."""

    at: float
    requests: float = 0.0
    conversations: float = 0.0

    def fade(self, now: float) -> None:
        rest = 0.5 ** ((now - self.at) / HALF_LIFE_S)
        self.at = now
        self.requests *= rest
        self.conversations *= rest


def _excess(load: float, total: float, places: int) -> float:
    share = (total + 1.0) / places
    # Half of one more: at small numbers a whole one would be no share of anybody's.
    over = (load + 0.5) / max(1.0, share * SLACK)
    return over if over > 1.0 else 0.0


def _session(headers: Headers, members: Members | None) -> str | None:
    for name in _HEADERS:
        if value := headers.get(name):
            return value[:_LONGEST_SESSION]
    if members is None:
        return None
    for name in _FIELDS:
        try:
            text = members.text(name) if name in members else None
        except WrongType:
            continue  # the upstream says what is wrong with it
        if text:
            return text[:_LONGEST_SESSION]
    return None


def _weight(key: str, candidate: Candidate) -> bytes:
    return hashlib.blake2b(
        f"{key}\0{candidate.provider.id}".encode(), digest_size=8
    ).digest()
