"""Value types that cross the gateway's packages.

Each is small and carries no behaviour beyond reading itself. `Record` is the
story of one request: the pipeline writes it, accounting and the log read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

Pair = tuple[str, str]


class Headers:
    """An immutable list of header fields with lower-case names.

    Values are text in latin-1, so any byte an HTTP message may hold comes back
    unchanged. `get` answers the first value of a name. `memo` is for whoever
    derives something from the fields alone: clients send the same head again and
    again, and a door may answer the same object for it.
    """

    __slots__ = ("_first", "memo", "pairs")

    pairs: tuple[Pair, ...]
    memo: dict[object, Any]

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        self.pairs = tuple(pairs)
        first: dict[str, str] = {}
        for name, value in self.pairs:
            first.setdefault(name, value)
        self._first = first
        self.memo = {}

    def get(self, name: str) -> str | None:
        return self._first.get(name)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]

    def __contains__(self, name: object) -> bool:
        return name in self._first

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        # Values may be credentials: names only.
        return f"Headers({', '.join(name for name, _ in self.pairs)})"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one key may use. Rates read like `120/minute`; None: the configuration's."""

    requests: str | None = None
    tokens: str | None = None
    concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent in a day and in a month of UTC; None: without a bound."""

    daily_usd: float | None = None
    monthly_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. Without authentication everybody is tenant `default`.

    `key` is a key's id, `key_name` its name, `user` whom a token names. `models` are
    the patterns of those that may be used, empty for all. What is None of `priority`,
    `limits` and `budget` is the configuration's; `is_limited`: one of the last two is its
    own.
    """

    tenant: str = "default"
    key: str | None = None
    scopes: frozenset[str] = frozenset({"inference"})
    key_name: str | None = None
    user: str | None = None
    models: tuple[str, ...] = ()
    priority: int | None = None
    limits: Limits | None = None
    budget: Budget | None = None
    is_limited: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        is_limited = self.limits is not None or self.budget is not None
        object.__setattr__(self, "is_limited", is_limited)


ANYONE: Final = Principal()


@dataclass(slots=True)
class Attempt:
    """One try at one candidate."""

    provider: str
    upstream_model: str | None
    status: int | None = None
    code: str | None = None


class Record:
    """What happened to one request; times in seconds on the monotonic clock.

    `status` is what the caller got, 499 when it went away first. `code` is the
    catalogue's error code, None for success. Token counts are None when
    nobody said; `usage_source` is "upstream", "estimate" or "none". `key` is the id of
    the caller's key, `end_user` whom the body's `user` names. `cost` is `cost_usd` in
    `currency`. A sub-call has the `parent_id` of the request that made it, at `depth`;
    `source` names the part of the gateway that did. `cache` is hit, miss or bypass,
    `trace_parent` the caller's `traceparent`. `overhead_s` is what was spent here before
    it was sent, waiting left out; `events` are those of a streamed reply.

    `memo` is shared by records of one kind: those that differ in `id`, `peer`, times,
    `bytes_*`, `prompt_tokens`, `completion_tokens` and `cost_usd` only, all of which are
    known. Who writes records down keeps there what follows from the rest.
    """

    id: str
    operation: str
    started_at: float
    client_request_id: str | None
    method: str
    path: str
    peer: str
    attempts: list[Attempt]
    # What most requests leave as it is.
    tenant: str = ANYONE.tenant
    model: str | None = None
    provider: str | None = None
    upstream_model: str | None = None
    stream: bool = False
    status: int = 0
    code: str | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: str = "none"
    cost_usd: float | None = None
    upstream_wait_s: float = 0.0
    queue_s: float = 0.0
    key: str | None = None
    parent_id: str | None = None
    depth: int = 0
    end_user: str | None = None
    dialect: str | None = None
    cache_write_tokens: int | None = None
    currency: str | None = None
    cost: float | None = None
    cache: str | None = None
    user_agent: str | None = None
    source: str | None = None
    trace_parent: str | None = None
    first_byte_at: float | None = None
    overhead_s: float | None = None
    events: int = 0
    ended_at: float | None = None
    memo: dict[object, Any] | None = None

    def __init__(
        self,
        id_: str,
        operation: str,
        started_at: float,
        client_request_id: str | None = None,
        method: str = "",
        path: str = "",
        peer: str = "",
    ) -> None:
        self.__dict__ = _BLANK.copy()
        self.id = id_
        self.operation = operation
        self.started_at = started_at
        self.client_request_id = client_request_id
        self.method = method
        self.path = path
        self.peer = peer
        self.attempts = []

    def another(self) -> Record:
        """Answer the record of another request of which the same is to be said."""
        made = Record.__new__(Record)
        made.__dict__ = self.__dict__.copy()
        return made


# What a record begins with. Its attributes are copied in one go, and none is added
# later, as the dict would have to grow for that (bench: CPU per request).
_BLANK: Final = {name: getattr(Record, name, None) for name in Record.__annotations__}
