"""Responses objects that the gateway itself has made, kept so that callers can go on.

A provider that lacks /v1/responses keeps none. `Store` is what keeping them means;
`MemoryStore` does so within bounds, and forgets them with the process; durable.py has
one that does not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Protocol

import orjson
from msgspec import Struct

from proxy.core import clock

KEPT_S: Final = 3600.0
KEPT_BYTES: Final = 64 << 20


class Stored(Struct, frozen=True):
    """One response. `response` and `items`, its own input, are JSON; `turns` are the
    whole conversation up to and with it: JSON lists of items, one after the other.
    `provider` is who answered.
    """

    id: str
    tenant: str
    response: bytes
    items: bytes
    turns: tuple[bytes, ...]
    provider: str = ""

    @property
    def size_bytes(self) -> int:
        turns = sum(map(len, self.turns))
        return len(self.response) + len(self.items) + turns

    def conversation(self) -> list[dict[str, Any]]:
        """The items of all turns, in order."""
        return [item for turn in self.turns for item in orjson.loads(turn)]


class Store(Protocol):
    """Keeps responses by tenant; to another tenant an id does not exist.

    `put` waits for nothing: it is called while a stream passes.
    """

    def put(self, stored: Stored) -> None: ...

    async def get(self, response_id: str, tenant: str) -> Stored | None: ...

    async def delete(self, response_id: str, tenant: str) -> bool:
        """Forget it; False when there was none."""
        ...


class MemoryStore:
    """Implements Store: the newest that fit, each for a while."""

    def __init__(
        self,
        limit_bytes: int = KEPT_BYTES,
        kept_s: float = KEPT_S,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._limit = limit_bytes
        self._kept_s = kept_s
        self._now = now
        self._kept: OrderedDict[tuple[str, str], tuple[float, Stored]] = OrderedDict()
        self.size_bytes = 0

    def put(self, stored: Stored) -> None:
        if stored.size_bytes > self._limit:
            return
        self._forget((stored.tenant, stored.id))
        self._kept[stored.tenant, stored.id] = self._now() + self._kept_s, stored
        self.size_bytes += stored.size_bytes
        self._sweep()

    async def get(self, response_id: str, tenant: str) -> Stored | None:
        self._sweep()
        found = self._kept.get((tenant, response_id))
        return None if found is None else found[1]

    async def delete(self, response_id: str, tenant: str) -> bool:
        self._sweep()
        return self._forget((tenant, response_id))

    def _sweep(self) -> None:
        """Forget the oldest: what is over its time, and what there is no room for."""
        now = self._now()
        while self._kept:
            until, _ = next(iter(self._kept.values()))
            if until > now and self.size_bytes <= self._limit:
                return
            self._forget(next(iter(self._kept)))

    def _forget(self, key: tuple[str, str]) -> bool:
        found = self._kept.pop(key, None)
        if found is None:
            return False
        self.size_bytes -= found[1].size_bytes
        return True


def input_items(given: object, response_id: str) -> list[dict[str, Any]]:
    """The items of an `input`, each with an id, a text as a message of the user."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    items = [item for item in given or () if isinstance(item, dict)]  # type: ignore[attr-defined]
    return [_whole(item, f"{response_id}_{n}") for n, item in enumerate(items)]


def _whole(item: dict[str, Any], made: str) -> dict[str, Any]:
    kind = item.get("type") or "message"
    found = {"id": f"{_PREFIXES.get(kind, 'item')}_{made}", "type": kind, **item}
    if kind == "message" and isinstance(item.get("content"), str):
        is_own = item.get("role") == "assistant"
        part = {"type": "output_text" if is_own else "input_text"}
        found["content"] = [{**part, "text": item["content"]}]
        if is_own:
            found["content"][0]["annotations"] = []
    if kind == "message":
        found.setdefault("status", "completed")
    return found


_PREFIXES: Final = {"message": "msg", "function_call": "fc", "reasoning": "rs"}
