"""The contract for shared volatile state; tests/contract/state holds what it means.

    State
    ├── slots      how many are taken of each key, never more than its limit
    ├── rates      how much of each allowance is used up (cost-aware GCRA)
    ├── money      what accounts have spent and set aside (see money.py)
    ├── cooldowns  what is left alone, and for how long
    ├── health     what was last seen of a provider, or of a model there
    ├── affinity   which provider served a session or a prefix
    ├── blobs      what can be made again: replies that are kept
    └── turns      which process looks at a provider, and what it saw

Counts are exact: `try_…` answers at once, and None where only another process
knows. Facts (cooldowns, health, affinity) are read from a copy at hand, written at
once here and a moment later elsewhere. So a request waits for no more than one
answer each about money, rates and slots, a chunk for none, and within one process
nothing waits. Every map is bounded; times are spans in seconds, as hosts share no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Struct

from proxy.state.money import MoneyCounts

Bound = tuple[str, int | None]
"""A key that is counted, and its limit; None counts without one."""


class Place(Protocol):
    """What is taken together again and again: its bounds, looked up once.

    It may be kept for ever, and all that have one of the same bounds count together.
    """

    def try_take(self) -> bool | None:
        """As `SlotCounts.try_take`; None: there is nothing more to know without `ask`."""
        ...

    def ask(self) -> None:
        """Have it asked for, where it was not known and others know."""
        ...

    def give_back(self) -> None: ...


class SlotCounts(Protocol):
    """Counts what is held of each key. A process that dies gives back what it held."""

    def place(self, bounds: tuple[Bound, ...]) -> Place:
        """Answer that of which these are the bounds, for who comes again and again."""
        ...

    def try_take(self, bounds: tuple[Bound, ...], *, ask: bool = True) -> bool | None:
        """Take one of every key, or none of any.

        False: one of them is full. None: not known here yet; it is being asked for
        (unless told not to), and who watches hears when trying again is worth it.
        """
        ...

    def give_back(self, bounds: tuple[Bound, ...]) -> None:
        """Give back one of every key; the limits are not looked at."""
        ...

    def has_room(self, bounds: tuple[Bound, ...]) -> bool:
        """False where `try_take` would say so. It asks nobody and takes nothing."""
        ...

    def is_asked(self, bounds: tuple[Bound, ...]) -> bool:
        """True while the answer to a `try_take` of these bounds is under way."""
        ...

    def held(self, key: str) -> int:
        """Answer how many this process holds."""
        ...

    def watch(self, callback: Callable[[], None]) -> None:
        """Call `callback` when what others did may have made room here."""
        ...


class Rate(msgspec.Struct, frozen=True, gc=False):
    """An allowance: a bucket of `amount` that fills evenly within `period_s`."""

    amount: float
    period_s: float


class Charge(msgspec.Struct, frozen=True, gc=False):
    """What one request takes from one allowance, known or estimated."""

    key: str
    rate: Rate
    cost: float


class Level(msgspec.Struct, frozen=True, gc=False):
    """How an allowance stands: `remaining` of it, full again in `reset_s`.

    `until` is where the charge ends on the clock of whoever granted it.
    """

    remaining: float
    reset_s: float
    until: float


class Grant(msgspec.Struct, frozen=True, gc=False):
    """The answer to charges, whose order `levels` has.

    Refused, nothing was taken, and the same charges will be granted in
    `retry_after_s` if nobody else comes.
    """

    charges: tuple[Charge, ...]
    levels: tuple[Level, ...]
    retry_after_s: float = 0.0

    @property
    def granted(self) -> bool:
        return self.retry_after_s == 0.0


class RateCounters(Protocol):
    """Charges allowances: reserved before the work, settled when its cost is known.

    What costs more than the whole bucket costs the bucket, so that it can be had.
    """

    def try_reserve(self, charges: tuple[Charge, ...]) -> Grant | None:
        """Take all charges or none; None where `reserve` has to be awaited."""
        ...

    async def reserve(self, charges: tuple[Charge, ...]) -> Grant: ...

    def draw(self, key: str, span_s: float, period_s: float) -> float | None:
        """Take what can be had now and is never settled; answers in how many seconds
        the allowance is full again.

        It takes `span_s` to fill up again what is taken, and `period_s` for the whole of
        it. None: nothing was taken, and `try_reserve` tells more.
        """
        ...

    def settle(self, grant: Grant, costs: tuple[float, ...]) -> None:
        """Replace the costs that were reserved by the real ones, once.

        A zero gives a charge back, less what has been filled up again since.
        """
        ...


class Where(NamedTuple):
    """What a fact is about: a model at a provider, or (None) all of the provider."""

    provider: str
    model: str | None = None


class Cooldowns(Protocol):
    """What is left alone for a while, never longer than the implementation's cap."""

    @property
    def resting(self) -> Collection[Where]:
        """What may be left alone now, always the same collection: empty when surely
        nothing is.
        """
        ...

    def start(self, where: Where, seconds: float) -> float:
        """Leave it alone for so long from now, or as long as it already is.

        Answers the seconds that remain.
        """
        ...

    def remaining_s(self, where: Where) -> float:
        """Answer 0.0 when it is not cooling down. Exactly this key is looked up."""
        ...

    def end(self, where: Where) -> None: ...


class Seen(Struct, frozen=True):
    """What was last seen; `failures` are those in a row, `age_s` how long ago."""

    status: str
    failures: int
    age_s: float


class HealthFacts(Protocol):
    """What probes and traffic have seen of providers and their models."""

    def note(self, where: Where, status: str, *, failed: bool) -> int:
        """Note what was seen just now; answers the failures in a row."""
        ...

    def last(self, where: Where) -> Seen | None: ...

    def forget(self, where: Where) -> None: ...


class Affinities(Protocol):
    """Remembers the provider of a key for a while; the longest unused go first."""

    def get(self, key: str) -> str | None: ...

    def put(self, key: str, provider_id: str) -> None:
        """Remember it; its time begins anew."""
        ...

    def forget(self, key: str) -> None: ...


class Blobs(Protocol):
    """Keeps data for a while, at most so many bytes of it; may forget any at any time."""

    @property
    def kept(self) -> tuple[int, int]:
        """How many there are and in how many bytes, as last known."""
        ...

    async def get(self, key: str) -> bytes | None:
        """None too where it cannot be had in a moment."""
        ...

    def put(self, key: str, data: bytes, ttl_s: float, most_bytes: int) -> None:
        """Keep it soon; what has been kept the longest goes beyond `most_bytes`."""
        ...


class Turn(Struct, frozen=True):
    """Whether to look, or else what another has seen; neither while another looks."""

    is_mine: bool
    found: bytes | None = None


class Turns(Protocol):
    """Deals out who looks at something of which one look is enough for all."""

    async def ask(self, about: str, max_age_s: float, lease_s: float) -> Turn:
        """Ask whether to look, if what was seen is older than that; nobody else will be
        told to within the lease. Without an answer in a moment everybody looks.
        """
        ...

    async def end(self, about: str, found: bytes, keep_s: float) -> None:
        """Say what was seen, for so long; nothing leaves the next look to anybody."""
        ...


class State(Protocol):
    """All of it. What it opens is open between `__aenter__` and `__aexit__`."""

    @property
    def is_away(self) -> bool:
        """True while the others cannot be asked, and this process goes on alone."""
        ...

    @property
    def alone(self) -> Mapping[str, int]:
        """How often it granted something alone, by kind: slots, rates, budgets."""
        ...

    @property
    def failed(self) -> Mapping[str, int]:
        """How often it did without what it asked the others for, by kind: blobs, turns."""
        ...

    @property
    def slots(self) -> SlotCounts: ...

    @property
    def rates(self) -> RateCounters: ...

    @property
    def money(self) -> MoneyCounts: ...

    @property
    def cooldowns(self) -> Cooldowns: ...

    @property
    def health(self) -> HealthFacts: ...

    @property
    def affinity(self) -> Affinities: ...

    @property
    def blobs(self) -> Blobs | None:
        """None where nobody shares them: each keeps its own better."""
        ...

    @property
    def turns(self) -> Turns | None:
        """None where nobody else looks."""
        ...

    async def __aenter__(self) -> State: ...

    async def __aexit__(self, *exc: object) -> None: ...
