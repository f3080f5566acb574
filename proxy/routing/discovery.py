"""Finds providers that nobody configured, and looks after all there are.

Looks at start, every `discovery.refreshSeconds`, and when a caller names a model
that nobody has (`look_now`). A server found once stays known: it goes offline
when it stops and comes back when it starts. Only metadata paths are asked, and
an answer must look like the kind's own before a server is taken for one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import orjson

from providers.base import ProbeReply
from proxy.config import Config, ProviderConfig
from proxy.core import clock
from proxy.core.call import Fetch, FetchFailed
from proxy.core.tasks import Tasks
from proxy.routing.guess import Address, address_of, certain, local_guesses
from proxy.routing.health import FetchFor, Health
from proxy.routing.registry import Provider, Registry, Status

GATEWAY_NAME: Final = "local-ai"
"""`name` in our own `GET /` as JSON: how one gateway knows another."""

LOOK_S: Final = 1.0
"""How long a start, or a caller whose model is missing, waits for a look."""

_PAUSE_S: Final = 5.0


class Discovery:
    """Keeps the registry in step with what is there. Registered with the Ticker."""

    def __init__(
        self,
        registry: Registry,
        fetch_for: FetchFor,
        tasks: Tasks,
        config: Config,
        own_address: Address,
        *,
        now: Callable[[], float] = clock.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._registry = registry
        self._fetch_for = fetch_for
        self._tasks = tasks
        self._now = now
        self._own_address = own_address
        self.load(config)
        self.health = self._health = Health(
            registry, fetch_for, tasks, now=now, jitter=jitter
        )
        self._scan: asyncio.Task[None] | None = None
        self._scanned_at: float | None = None
        self._looked_at: float | None = None
        self._look: asyncio.Task[None] | None = None

    def load(self, config: Config) -> None:
        """Heed this configuration from now on."""
        kinds = self._registry.kinds
        self._refresh_s = config.discovery.refresh_seconds
        self._certain = certain(config, kinds)
        self._guesses = local_guesses(config, kinds, self._own_address)
        self._configured = {address_of(p.base_url) for p in config.providers}

    def finds(self, found: ProviderConfig) -> bool:
        """Tell whether a provider that was found would be found again."""
        if any(config.id == found.id for config in self._certain):
            return True
        address = address_of(found.base_url)
        return address in self._guesses and address not in self._configured

    def add_certain(self) -> None:
        """Add the clouds with a key and the demo provider, where they are missing."""
        for config in self._certain:
            if self._registry.get(config.id) is None:
                self._registry.add(config)

    async def first_look(self, limit_s: float = LOOK_S) -> None:
        """Look at everything, waiting `limit_s` at most; the rest goes on behind.

        Adds what needs no looking for before it looks.
        """
        self.add_certain()
        await self.look_now(limit_s)

    async def look_now(self, limit_s: float = LOOK_S) -> None:
        """Look again because something is missing; callers share one look.

        At most one look in five seconds; a caller too many returns at once.
        """
        if self._look is None or self._look.done():
            now = self._now()
            if self._looked_at is not None and now - self._looked_at < _PAUSE_S:
                return
            self._looked_at = now
            self._look = self._tasks.start(self._look_around(), "look around")
        # Not wait_for: a caller that leaves must not end the look of the others.
        await asyncio.wait({self._look}, timeout=limit_s)

    def check(self, provider: Provider) -> asyncio.Task[None]:
        """Look at one provider now; joins a look that is under way."""
        return self._health.check(provider)

    def tick(self, now: float) -> None:
        """Start what is due."""
        self._health.tick(now)
        if self._scanned_at is None or now - self._scanned_at >= self._refresh_s:
            self._start_scan()

    async def _look_around(self) -> None:
        checks = self._health.check_again()
        await asyncio.wait({self._start_scan(), *checks})

    def _start_scan(self) -> asyncio.Task[None]:
        if self._scan is None or self._scan.done():
            self._scanned_at = self._now()
            self._scan = self._tasks.start(self._scan_all(), "look for local servers")
        return self._scan

    async def _scan_all(self) -> None:
        await asyncio.gather(
            *(
                self._knock(address)
                for address in self._guesses
                if self._is_free(address)
            )
        )

    def _is_free(self, address: Address) -> bool:
        """Nobody there that we know. A found one that has gone may be succeeded."""
        return not any(
            address_of(provider.config.base_url) == address
            and not (provider.config.discovered and provider.health is Status.OFFLINE)
            for provider in self._registry.providers
        )

    async def _knock(self, address: Address) -> None:
        """Ask the server at an address, if there is one, what it is; kind by kind."""
        for guess in self._guesses.get(address, ()):  # a reload may have come between
            if self._is_known(guess):
                continue
            fetch = self._fetch_for(guess)
            if await self._is_of_kind(guess, fetch):
                if not await _is_gateway(fetch, guess.base_url):
                    await self._welcome(guess)
                return

    def _is_known(self, guess: ProviderConfig) -> bool:
        return any(
            provider.kind == guess.kind and provider.config.base_url == guess.base_url
            for provider in self._registry.providers
        )

    async def _is_of_kind(self, guess: ProviderConfig, fetch: Fetch) -> bool:
        adapter = self._registry.adapter(guess)
        replies: dict[str, ProbeReply] = {}
        for probe in adapter.listing:
            try:
                answer = await fetch(
                    probe.method,
                    guess.base_url + probe.path,
                    headers=adapter.probe_headers(),
                    body=probe.body,
                    timeout_s=guess.health_check_timeout,
                )
            except FetchFailed as error:
                if error.reason == "refused":
                    return False
            else:
                replies[probe.name] = ProbeReply(answer.status, answer.body)
        return bool(replies) and adapter.recognises(replies)

    async def _welcome(self, guess: ProviderConfig) -> None:
        id_ = guess.id
        if self._registry.get(id_) is not None:
            id_ = f"{guess.kind}-{address_of(guess.base_url)[1]}"
        if self._registry.get(id_) is None:
            provider = self._registry.add(replace(guess, id=id_))
            await self._health.check(provider)


async def _is_gateway(fetch: Fetch, base_url: str) -> bool:
    """Tell another gateway of our kind from a model server: it says its name at /.

    It would answer like any of its providers, and two that find each other would
    pass requests round in a circle.
    """
    accept = (("accept", "application/json"),)
    try:
        answer = await fetch("GET", base_url + "/", headers=accept, timeout_s=2.0)
        document = orjson.loads(answer.body)
    except (FetchFailed, ValueError):
        return False
    return isinstance(document, dict) and document.get("name") == GATEWAY_NAME
