"""Asks providers how they are: cheap questions that load nothing.

One question in flight for each provider, at jittered times, clouds at most once a
minute; who is not well is asked sooner. The adapter says what to ask and what the
answer means, `status` what a provider is then; the registry keeps it. What requests
show comes in by `failed` and `answered`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from providers.base import Life, Probe, ProbeReply
from providers.faults import read_retry_after
from proxy.config import ProviderConfig
from proxy.core import clock
from proxy.core.call import Fetch, Fetched, FetchFailed
from proxy.core.tasks import Tasks
from proxy.routing.registry import Finding, Provider, Registry
from proxy.routing.rounds import Rounds
from proxy.routing.status import WELL, Sign, Status, after, failure

CLOUD_PAUSE_S: Final = 60.0
LOCAL_PAUSE_S: Final = 5.0
"""The least time between two looks at a provider, whatever asks for them."""

GONE: Final = frozenset({"refused", "tls", "unknown_host"})
"""Reasons of a failed connection that mean that nobody listens there."""

KEY_REFUSED: Final = "key refused"

_LONGEST_PAUSE_S: Final = 3600.0
_SOON_S: Final = 1.0
_WHILE_LOADING_S: Final = 5.0
_MOST_DOUBLINGS: Final = 8

_SIGNS: Final[Mapping[Life, Sign]] = MappingProxyType({
    Life.UP: Sign.WELL,
    Life.LOADING: Sign.LOADING,
    Life.DOWN: Sign.GONE,
    Life.REFUSED: Sign.AILING,
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
        self._rounds: Rounds | None = None
        self._suspected: set[str] = set()
        self._on_recovery: list[Callable[[Provider], None]] = []

    def tick(self, now: float) -> None:
        """Start a look at every provider whose time has come."""
        for provider in self._registry.providers:
            if self._due_at.get(provider.id, now) <= now:
                self._start(provider, self._is_shared(provider))

    def check(self, provider: Provider) -> asyncio.Task[None]:
        """Look at a provider now; joins a look that is under way.

        Not one at what it was before a reload.
        """
        return self._start(provider, is_shared=False)

    def _start(self, provider: Provider, is_shared: bool) -> asyncio.Task[None]:
        config, known = provider.config, self._flights.get(provider.id)
        if known is not None and known[0] is config and not known[1].done():
            return known[1]
        now = self._now()
        self._asked_at[provider.id] = now
        self._due_at[provider.id] = now + self._pause_s(provider)
        look = self._look_in_turn if is_shared else self._look
        flight = self._tasks.start(look(provider), f"probe {provider.id}")
        self._flights[provider.id] = (config, flight)
        return flight

    def check_again(self) -> list[asyncio.Task[None]]:
        """Look at all providers but those that were asked a moment ago."""
        return [self.check(p) for p in self._registry.providers if self._is_stale(p)]

    def share(self, rounds: Rounds) -> None:
        """Take turns with other processes from now on."""
        self._rounds = rounds

    def on_recovery(self, callback: Callable[[Provider], None]) -> None:
        """Call `callback` with a provider that was offline and has answered a look."""
        self._on_recovery.append(callback)

    def failed(self, provider: Provider, sign: Sign, error: str) -> None:
        """Note that a request failed in a way that tells of the provider; look soon.

        A cloud that refuses one connection is not gone: the way there is long, and
        it may be asked how it is only once a minute.
        """
        missed = sign in (Sign.GONE, Sign.FAILED)
        if missed and not (sign is Sign.GONE and provider.local):
            sign = failure(provider.misses)
        told = None if sign is Sign.LOADING else error
        health = after(provider.health, sign)
        self._registry.saw(provider, health, told, missed=missed)
        self.suspect(provider)

    def answered(self, provider: Provider) -> None:
        """Note that a request was served. Cheap where nothing was wrong before."""
        if provider.failures:
            self._registry.saw(provider, after(provider.health, Sign.WELL), None)

    def suspect(self, provider: Provider) -> None:
        """Look at a provider soon, as far as its kind allows."""
        self._suspected.add(provider.id)
        soon = self._now() + _SOON_S * (1.0 + self._jitter())
        asked_at = self._asked_at.get(provider.id)
        if asked_at is not None and not provider.local:
            soon = max(soon, asked_at + CLOUD_PAUSE_S)
        self._due_at[provider.id] = min(self._due_at.get(provider.id, soon), soon)

    def _is_stale(self, provider: Provider) -> bool:
        asked_at = self._asked_at.get(provider.id)
        pause_s = LOCAL_PAUSE_S if provider.local else CLOUD_PAUSE_S
        return asked_at is None or self._now() - asked_at >= pause_s

    def _pause_s(self, provider: Provider) -> float:
        pause_s = provider.config.health_check_interval
        if not provider.local:
            pause_s = max(pause_s, CLOUD_PAUSE_S)
        elif provider.failures:
            # Who has just failed may be back in a moment; who is long gone is not.
            doublings = min(provider.failures, _MOST_DOUBLINGS)
            pause_s = min(pause_s, _SOON_S * 2.0**doublings)
        elif provider.health is Status.LOADING:
            pause_s = min(pause_s, _WHILE_LOADING_S)
        # Upwards only: an interval is the least time between two questions.
        return pause_s * (1.0 + 0.2 * self._jitter())

    def _is_shared(self, provider: Provider) -> bool:
        """What went wrong here is looked at from here."""
        is_well = provider.health in WELL and not provider.failures
        return is_well and provider.id not in self._suspected

    async def _look_in_turn(self, provider: Provider) -> None:
        """Look, unless another process has, or does."""
        config, rounds = provider.config, self._rounds
        if rounds is None or provider.held is Status.DISABLED:
            await self._look(provider)
            return
        pause_s = config.health_check_interval
        if not provider.local:
            pause_s = max(pause_s, CLOUD_PAUSE_S)
        found = await rounds.ask(config, pause_s)
        if isinstance(found, Finding):
            if provider.config is config and self._is_shared(provider):
                self._registry.report(provider, found)
        elif found:
            seen = await self._look(provider)
            await rounds.end(config, pause_s, seen)
        else:
            self._due_at[provider.id] = self._now() + _SOON_S * (1.0 + self._jitter())

    async def _look(self, provider: Provider) -> Finding | None:
        """Answer what the provider said of itself, None if nothing."""
        if provider.held is Status.DISABLED:
            return None
        config = provider.config
        self._suspected.discard(provider.id)
        is_answered = True
        asker = _Asker(provider, self._fetch_for(config))
        probe = _liveness(provider)
        try:
            answer = await asker.ask(probe)
        except FetchFailed as error:
            finding, is_answered = _unanswered(provider, error), False
        else:
            if answer.status == 429:
                self._postpone(provider, answer)
            finding = await _read(provider, asker, answer)
        # After a reload it may be another server: this says nothing of that one.
        if provider.config is not config:
            return None
        was_offline = provider.health is Status.OFFLINE
        self._registry.report(provider, finding)
        if was_offline and finding.health in WELL:
            for callback in self._on_recovery:
                callback(provider)
        return finding if is_answered else None

    def _postpone(self, provider: Provider, answer: Fetched) -> None:
        asked_for_s = read_retry_after(answer.headers)
        if asked_for_s is not None:
            due_at = self._now() + min(asked_for_s, _LONGEST_PAUSE_S)
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
    sign = Sign.GONE if error.reason in GONE else failure(provider.misses)
    return Finding(after(provider.health, sign), error=str(error), missed=True)


async def _read(provider: Provider, asker: _Asker, answer: Fetched) -> Finding:
    if answer.status == 429:
        # It is there and says so; models and latency are as before.
        return Finding(after(provider.health, Sign.AILING), error="rate limited")
    life = _life(provider, answer)
    if life is Life.UP:
        return await _list(provider, asker, answer.elapsed_s)
    is_down, sign = life is Life.DOWN, _SIGNS[life]
    if is_down and answer.status >= 500:
        sign = failure(
            provider.misses
        )  # such a server, and in trouble: perhaps for long
    return Finding(
        after(provider.health, sign),
        _complaint(life, answer),
        latency_s=answer.elapsed_s,
        missed=is_down,
    )


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
        return KEY_REFUSED
    return f"unexpected answer to the health check (status {answer.status})"


async def _list(provider: Provider, asker: _Asker, latency_s: float) -> Finding:
    replies = await asker.ask_all(provider.adapter.listing)
    inventory = provider.adapter.read_listing(replies)
    if inventory is not None:
        is_slow = latency_s > provider.config.health_check_timeout / 2
        return Finding(
            after(provider.health, Sign.SLOW if is_slow else Sign.WELL),
            models=inventory.models,
            slots=inventory.slots,
            latency_s=latency_s,
        )
    refused = any(reply.status in (401, 403) for reply in replies.values())
    error = KEY_REFUSED if refused else "its list of models could not be read"
    health = after(provider.health, Sign.AILING)
    return Finding(health, error=error, latency_s=latency_s)
