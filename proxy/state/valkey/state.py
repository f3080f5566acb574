"""A State that other processes share. The counterpart of memory.MemoryState."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from proxy.core import clock
from proxy.state.base import State
from proxy.state.memory import (
    AFFINITY_TTL_S,
    ENTRIES,
    LONGEST_COOLDOWN_S,
    Now,
)
from proxy.state.valkey.blobs import ValkeyBlobs
from proxy.state.valkey.facts import (
    Facts,
    Herald,
    SharedAffinity,
    SharedCooldowns,
    SharedHealth,
)
from proxy.state.valkey.failures import Failures
from proxy.state.valkey.money import ValkeyMoney
from proxy.state.valkey.post import BEAT_S, Post
from proxy.state.valkey.rates import ValkeyRates
from proxy.state.valkey.scripts import LEAVE
from proxy.state.valkey.slots import ValkeySlots
from proxy.state.valkey.standing import SETTLE_BEATS, Standing
from proxy.state.valkey.turns import ValkeyTurns


class ValkeyState:
    """State at a server. Opening it waits a moment for the server, and does without.

    `processes` is how many there are at least. Six heartbeats missed end what a process
    holds. `now` is None for the clocks there are: the server's for rates and money, our own
    for facts.
    """

    def __init__(
        self,
        url: str,
        *,
        processes: int = 1,
        beat_s: float = BEAT_S,
        now: Now | None = None,
        entries: int = ENTRIES,
        longest_cooldown_s: float = LONGEST_COOLDOWN_S,
        affinity_ttl_s: float = AFFINITY_TTL_S,
    ) -> None:
        own_now = clock.monotonic if now is None else now
        process = secrets.token_hex(8)
        self._standing = standing = Standing(processes, SETTLE_BEATS * beat_s)
        self._post = post = Post(url, standing, beat_s)
        herald = Herald(process, post.ring)
        facts = Facts(
            herald,
            process,
            SharedCooldowns(own_now, entries, longest_cooldown_s, herald),
            SharedHealth(own_now, entries, herald),
            SharedAffinity(own_now, entries, affinity_ttl_s, herald),
        )
        self.slots = ValkeySlots(process, standing, post.ring, beat_s)
        self.rates = ValkeyRates(standing, post.ring, now, entries)
        self.money = ValkeyMoney(process, standing, post.ring, now, beat_s)
        self.cooldowns = facts.cooldowns
        self.health = facts.health
        self.affinity = facts.affinity
        self._failures = failures = Failures()
        self.blobs = ValkeyBlobs(url, standing, failures)
        self.turns = ValkeyTurns(url, process, standing, failures)
        post.serve((self.slots, self.rates, self.money, facts), (LEAVE, (), (process,)))

    @property
    def is_away(self) -> bool:
        return self._standing.is_away

    @property
    def alone(self) -> Mapping[str, int]:
        return self._standing.alone

    @property
    def failed(self) -> Mapping[str, int]:
        return self._failures.counts

    async def __aenter__(self) -> State:
        await self._post.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.turns.__aexit__(*exc)
        await self.blobs.__aexit__(*exc)
        await self._post.__aexit__(*exc)
