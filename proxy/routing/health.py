"""Asks providers how they are: cheap questions that load nothing.

One question in flight for each provider, at jittered times, clouds at most once a
minute. The adapter says what to ask and what the answer means; the registry
keeps the outcome. Knows no request: what traffic shows is another's affair.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from providers.base import Life, Probe, ProbeReply
from proxy.config import ProviderConfig
from proxy.core import clock
from proxy.core.call import Fetch, Fetched, FetchFailed
from proxy.core.tasks import Tasks
from proxy.routing.registry import Finding, Provider, Registry, Status

CLOUD_PAUSE_S: Final = 60.0
LOCAL_PAUSE_S: Final = 5.0
"""The least time between two looks at a provider, whatever asks for them."""

OFFLINE_AFTER: Final = 3
"""A server that was up may leave this many questions in a row unanswered, less one:
a busy GPU box is slow, not gone. One that refuses connections is gone at once."""

_GONE: Final = frozenset({"refused", "tls"})
_KEY_REFUSED: Final = "key refused"

_HEALTH: Final[Mapping[Life, Status]] = MappingProxyType({
    Life.UP: Status.ONLINE,
    Life.LOADING: Status.LOADING,
    Life.DOWN: Status.OFFLINE,
    Life.REFUSED: Status.DEGRADED,
})  # fmt: skip

FetchFor = Callable[[ProviderConfig], Fetch]


class Health:
    """Looks at providers when they are due (`tick`) or when asked (`check`)."""

    def __init__(
        self,
        registry: Registry,
        fetch_for: FetchFor,
        tasks: Tasks,
        *,
        now: Callable[[], float] = clock.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._registry = registry
        self._fetch_for = fetch_for
        self._tasks = tasks
        self._now = now
        self._jitter = jitter
        self._flights: dict[str, tuple[ProviderConfig, asyncio.Task[None]]] = {}
        self._asked_at: dict[str, float] = {}
        self._due_at: dict[str, float] = {}

    def tick(self, now: float) -> None:
        """Start a look at every provider whose time has come."""
        for provider in self._registry.providers:
            if self._due_at.get(provider.id, now) <= now:
                self.check(provider)

    def check(self, provider: Provider) -> asyncio.Task[None]:
        """Look at a provider now; joins a look that is under way.

        Not one at what it was before a reload.
        """
        config, known = provider.config, self._flights.get(provider.id)
        if known is not None and known[0] is config and not known[1].done():
            return known[1]
        now = self._now()
        self._asked_at[provider.id] = now
        self._due_at[provider.id] = now + self._pause_s(provider)
        flight = self._tasks.start(self._look(provider), f"probe {provider.id}")
        self._flights[provider.id] = (config, flight)
        return flight

    def check_again(self) -> list[asyncio.Task[None]]:
        """Look at all providers but those that were asked a moment ago."""
        return [self.check(p) for p in self._registry.providers if self._is_stale(p)]

    def _is_stale(self, provider: Provider) -> bool:
        asked_at = self._asked_at.get(provider.id)
        pause_s = LOCAL_PAUSE_S if provider.local else CLOUD_PAUSE_S
        return asked_at is None or self._now() - asked_at >= pause_s

    def _pause_s(self, provider: Provider) -> float:
        pause_s = provider.config.health_check_interval
        if not provider.local:
            pause_s = max(pause_s, CLOUD_PAUSE_S)
        # Upwards only: an interval is the least time between two questions.
        return pause_s * (1.0 + 0.2 * self._jitter())

    async def _look(self, provider: Provider) -> None:
        if provider.held is Status.DISABLED:
            return
        config = provider.config
        asker = _Asker(provider, self._fetch_for(config))
        probe = _liveness(provider)
        try:
            answer = await asker.ask(probe)
        except FetchFailed as error:
            finding = _unanswered(provider, error)
        else:
            if answer.status == 429:
                self._postpone(provider, answer)
            finding = await _read(provider, asker, answer)
        # After a reload it may be another server: this says nothing of that one.
        if provider.config is config:
            self._registry.report(provider, finding)

    def _postpone(self, provider: Provider, answer: Fetched) -> None:
        asked_for = answer.headers.get("retry-after") or ""
        if asked_for.isascii() and asked_for.isdigit():
            due_at = self._now() + min(int(asked_for), 3600)
            self._due_at[provider.id] = max(self._due_at[provider.id], due_at)
            self._asked_at[provider.id] = due_at - CLOUD_PAUSE_S


class _Asker:
    """Puts an adapter's probes to its provider, each at most once."""

    def __init__(self, provider: Provider, fetch: Fetch) -> None:
        self._fetch = fetch
        self._settings = provider.adapter.settings
        self._headers = provider.adapter.probe_headers()
        self._timeout_s = provider.config.health_check_timeout
        self._answers: dict[tuple[str, str, bytes], Fetched] = {}

    async def ask(self, probe: Probe) -> Fetched:
        question = (probe.method, probe.path, probe.body)
        answer = self._answers.get(question)
        if answer is None:
            answer = self._answers[question] = await self._fetch(
                probe.method,
                self._settings.base_url + probe.path,
                headers=self._headers,
                body=probe.body,
                timeout_s=self._timeout_s,
            )
        return answer

    async def ask_all(self, probes: tuple[Probe, ...]) -> dict[str, ProbeReply]:
        """Ask at once; answers by probe name, those that failed are absent."""
        answers = await asyncio.gather(
            *(self.ask(probe) for probe in probes), return_exceptions=True
        )
        replies: dict[str, ProbeReply] = {}
        for probe, answer in zip(probes, answers, strict=True):
            if isinstance(answer, Fetched):
                replies[probe.name] = ProbeReply(answer.status, answer.body)
            elif not isinstance(answer, FetchFailed):
                raise answer
        return replies


def _liveness(provider: Provider) -> Probe:
    path = provider.config.health_check_path
    return provider.adapter.liveness if path is None else Probe("liveness", path)


def _unanswered(provider: Provider, error: FetchFailed) -> Finding:
    was_up = provider.health in (Status.ONLINE, Status.DEGRADED, Status.LOADING)
    patient = was_up and provider.failures + 1 < OFFLINE_AFTER
    if patient and error.reason not in _GONE:
        return Finding(Status.DEGRADED, error=str(error))
    return Finding(Status.OFFLINE, error=str(error))


async def _read(provider: Provider, asker: _Asker, answer: Fetched) -> Finding:
    if answer.status == 429:
        # It is there and says so; models and latency are as before.
        return Finding(Status.DEGRADED, error="rate limited")
    life = _life(provider, answer)
    if life is Life.UP:
        return await _list(provider, asker, answer.elapsed_s)
    return Finding(_HEALTH[life], _complaint(life, answer), latency_s=answer.elapsed_s)


def _life(provider: Provider, answer: Fetched) -> Life:
    if provider.config.health_check_path is None:
        reply = ProbeReply(answer.status, answer.body)
        return provider.adapter.read_liveness(reply)
    # The operator's own path: its body may be anything, only the status speaks.
    if answer.status in (401, 403):
        return Life.REFUSED
    return Life.UP if answer.status < 300 else Life.DOWN


def _complaint(life: Life, answer: Fetched) -> str | None:
    if life is Life.LOADING:
        return None
    if life is Life.REFUSED:
        return _KEY_REFUSED
    return f"unexpected answer to the health check (status {answer.status})"


async def _list(provider: Provider, asker: _Asker, latency_s: float) -> Finding:
    replies = await asker.ask_all(provider.adapter.listing)
    inventory = provider.adapter.read_listing(replies)
    if inventory is not None:
        return Finding(
            Status.ONLINE,
            models=inventory.models,
            slots=inventory.slots,
            latency_s=latency_s,
        )
    refused = any(reply.status in (401, 403) for reply in replies.values())
    error = _KEY_REFUSED if refused else "its list of models could not be read"
    return Finding(Status.DEGRADED, error=error, latency_s=latency_s)
