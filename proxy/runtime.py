"""THE composition root: makes every part, opens in order, closes in reverse.

A reload makes what follows from a configuration anew, beside what serves, and lets
it serve from then on: a `Generation`. What lives is made once and outlives it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, structs

from proxy import __version__
from proxy.accounting.bodies import BodyLog
from proxy.accounting.ledger import Ledger
from proxy.accounting.ledger_gauges import LedgerGauges
from proxy.accounting.price_map import NoPriceMap, PriceMap, load_prices
from proxy.accounting.records import Records
from proxy.accounting.tail import Tail
from proxy.auth.access import Access, OpenAccess
from proxy.auth.authenticate import Authenticator
from proxy.auth.local_token import kept_secret
from proxy.auth.open_keys import make_keyring
from proxy.cache.flights import Flights
from proxy.cache.opening import open_cache
from proxy.config import (
    Config,
    ConfigError,
    Loaded,
    Options,
    Problem,
    ProviderConfig,
    load,
)
from proxy.config.load import USUAL_PLACES
from proxy.config.reload import Reload, emptied, held_back
from proxy.config.watch import Watch
from proxy.core import clock
from proxy.core.call import Call, Fetch, Reply
from proxy.core.errors import GatewayError
from proxy.core.tasks import Tasks
from proxy.limits.budget import Budgets
from proxy.limits.rate import RateLimits
from proxy.limits.spending import NOTHING_SPENT, Spending
from proxy.observability.allowance_gauges import AllowanceGauges, Kept
from proxy.observability.gauges import Feeds, ProviderGauges
from proxy.observability.logs import RequestLog
from proxy.observability.metrics import Metrics
from proxy.observability.state_gauges import StateGauges
from proxy.observability.traces import NoTraces, Traces
from proxy.pipeline import Pipeline
from proxy.pipeline.allowance import Allowance
from proxy.pipeline.carry import Carrier
from proxy.pipeline.copied import run_copied
from proxy.pipeline.desk import Desk
from proxy.pipeline.durable import DurableStore
from proxy.pipeline.passage import Passages
from proxy.pipeline.repeats import Repeats
from proxy.pipeline.translator import Translator
from proxy.relay.client import Client
from proxy.relay.origin import Tls
from proxy.relay.origins import Origins, check_tls
from proxy.routing.breaker import Circuit
from proxy.routing.catalog import Catalog
from proxy.routing.discovery import Discovery
from proxy.routing.dispatch import Dispatch
from proxy.routing.registry import WELL, Registry
from proxy.routing.responses import ResponseOwners
from proxy.routing.rounds import Rounds
from proxy.sandbox.sandbox import Sandbox
from proxy.state.opening import MEMORY, make_state

if TYPE_CHECKING:
    from proxy.auth.keyring import Keyring

_log: Final = logging.getLogger("local_ai")
_EVERYWHERE: Final = ("0.0.0.0", "::", "")  # noqa: S104 -- compared with, not bound


class Generation(Struct, frozen=True):
    """What one configuration makes. Calls end on the one they began with."""

    loaded: Loaded
    access: Access
    log: RequestLog
    pipeline: Pipeline
    repeats: Repeats | None


class Runtime:
    """All parts of one running gateway. Open as `async with`.

    `loaded`, `config`, `access` and `pipeline` are those in force now; `keyring` is None
    while authentication is off, `records` where none are to be kept.
    """

    def __init__(
        self, loaded: Loaded, options: Options | None = None, *, records: bool = False
    ) -> None:
        """`options` are those of the command line, for reading it all again. `records`:
        keep them. Raises NoRecords where the database's address cannot be used.
        """
        self._options = options or Options()
        config = loaded.config
        self._stack = AsyncExitStack()
        self._reloading = asyncio.Lock()
        self._watch = Watch((loaded.file,) if loaded.file else USUAL_PLACES)
        self._watchers: list[Callable[[], None]] = []
        self.last_reload: Reload | None = None
        self.started_at = clock.wall()
        self._instance_id = secrets.token_hex(4)
        # What outlives a reload: connections by origin, all that is known by id.
        self.ticker = clock.Ticker()
        self.ticker.report_faults_to(_report)
        self.tasks = Tasks(_report)
        self.client = Client(self.ticker)
        self.origins = Origins()
        self.metrics = Metrics()
        self.tail = Tail()
        self.traces = _open_traces(config)
        self.records = (
            Records(config, self.tasks, lambda: self.config) if records else None
        )
        self.sandbox = Sandbox(config.execute, _report)
        self.owners = ResponseOwners()
        self.translator = Translator()
        self.keyring = self._keyring(config) if config.auth.enabled else None
        self.registry = Registry(
            config.providers, salt_secret=lambda: _salt_secret(config)
        )
        self._take_prices(_read_prices(config))
        self.discovery = Discovery(
            self.registry,
            self._fetch_for,
            self.tasks,
            config,
            (config.server.host, config.server.port),
        )
        self.state = make_state(config.state.url, config.server.workers)
        if self.state.turns is not None:
            self.discovery.health.share(Rounds(self.state.turns))
        self.dispatch = Dispatch(
            self.registry,
            self.state,
            self.discovery.health,
            self.ticker,
            self.tasks,
            config,
        )
        self.allowance = allowance = self._allowance(config)
        self.metrics.add(
            AllowanceGauges(allowance.refused, lambda: allowance.aside_usd, self._kept)
        )
        # What is made anew by each: see _generation.
        self._former: list[Generation] = []
        self._take(self._generation(loaded, None))
        self._catalog = Catalog(config, self.registry.providers)

    async def __aenter__(self) -> Runtime:
        """Raises NoKeys where authentication is on and its keys cannot be read, NoRecords
        where the database is of a later version.
        """
        if self.keyring is not None:  # first: it may fail
            await self._stack.enter_async_context(self.keyring)
        await self._stack.enter_async_context(self.ticker)
        await self._stack.enter_async_context(self.state)
        await self._stack.enter_async_context(self.client)
        await self._stack.enter_async_context(self.tasks)
        if self.records is not None:
            await self._stack.enter_async_context(self.records)
            self.metrics.add(LedgerGauges(self.records.lag))
            if self.config.logging.request_log.retain_days:
                kept = DurableStore(self.records.responses, self.owners, self.tasks)
                self.translator.talks.store = kept
                await self._stack.enter_async_context(kept)
        if self.is_shared:
            state = self.state
            self.metrics.add(
                StateGauges(
                    lambda: state.is_away, lambda: state.alone, lambda: state.failed
                )
            )
        await self._stack.enter_async_context(self.sandbox)
        if self.keyring is not None:
            self.tasks.start(self.keyring.follow(), "keep up with the keys")
        if self.records is not None:
            self.tasks.start(self._spending.follow(), "keep up with what was spent")
        self._rebuild()
        self.registry.on_change(self._rebuild)
        self.metrics.feed(
            Feeds(
                lambda: self.active,
                self._provider_gauges,
                self._connections,
                self.dispatch.queue.presence,
                lambda: self.config.metrics.currency.per_usd,
            )
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        if self.traces is not None:
            await asyncio.to_thread(self.traces.close)
        for generation in self._generations():
            generation.log.flush()

    async def look_around(self) -> None:
        """Find providers for the first time, and again from here on."""
        await self.discovery.first_look()
        self.ticker.add(self.discovery)
        self._stack.callback(self.ticker.discard, self.discovery)

    def catalog(self) -> Catalog:
        return self._catalog

    @property
    def is_shared(self) -> bool:
        """True where other processes share the state."""
        return not self.config.state.url.startswith(MEMORY)

    @property
    def authenticator(self) -> Authenticator | None:
        """None while authentication is off."""
        return None if self.keyring is None else self.keyring.authenticator

    # -- calls, whatever generation they began with -------------------------------

    def run(
        self, call: Call, reply: Reply, cancel: Callable[[], object] | None = None
    ) -> Coroutine[Any, Any, None]:
        """Serve a call by the configuration of now."""
        if self._bodies is None:
            return self.pipeline.run(call, reply, cancel)
        return run_copied(self._bodies, self.pipeline.run, call, reply, cancel)

    @property
    def active(self) -> int:
        return sum(one.pipeline.active for one in self._generations())

    @property
    def draining(self) -> bool:
        return self.pipeline.draining

    def stop_accepting(self) -> None:
        for one in self._generations():
            one.pipeline.stop_accepting()

    def interrupt_all(self, error: GatewayError) -> None:
        for one in self._generations():
            one.pipeline.interrupt_all(error)

    async def idle_within(self, limit_s: float) -> bool:
        """Wait until no call is under way; False when the limit came first."""
        until = clock.monotonic() + limit_s
        while self.active and clock.monotonic() < until:
            await clock.sleep(0.02)
        return not self.active

    # -- reload --------------------------------------------------------------------

    def on_reload(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever another configuration has come into force."""
        self._watchers.append(callback)

    async def reload(self, trigger: str) -> Reload:
        """Read the configuration again and serve by it; a bad one changes nothing."""
        async with self._reloading:
            try:
                again = await asyncio.to_thread(load, self._same_file())
                prices = await asyncio.to_thread(_read_prices, self.config)
                outcome = self._swap(again, trigger)
                self._take_prices(prices)
            except ConfigError as error:
                outcome = Reload(clock.wall(), trigger, problems=error.problems)
            except Exception as error:
                _log.exception("reload failed")
                defect = Problem(None, None, "", f"it cannot be used: {error}")
                outcome = Reload(clock.wall(), trigger, problems=(defect,))
            self.last_reload = outcome
            _tell(outcome)
            return outcome

    async def follow_file(self) -> None:
        """Reload whenever the file changes, until cancelled."""
        async for _ in self._watch.changes():
            if self.config.server.watch_config:
                await self.reload("the file has changed")

    def _same_file(self) -> Options:
        """The file in use stays the one: deleting it must not bring up another."""
        file = self.loaded.file
        return (
            self._options if file is None else replace(self._options, config=str(file))
        )

    def _swap(self, again: Loaded, trigger: str) -> Reload:
        """Build beside what serves, then change over between two calls."""
        old = self._now
        if emptied(self.loaded, again):
            said = "is empty, as files are while they are written; a restart takes it"
            raise ConfigError([Problem(str(again.file), None, "", said)])
        config, needs_restart = held_back(self.config, again.config)
        for provider in config.providers:  # what can fail, before anything changes
            check_tls(provider)
            self.registry.adapter(provider)
        made = self._generation(structs.replace(again, config=config), old)
        if self.draining:
            made.pipeline.stop_accepting()
        # One whose calls have all ended is let go, but not the one that just served:
        # a call may have been handed to it that has not begun.
        self._former = [one for one in self._former if one.pipeline.active]
        self._former.append(old)
        self._take(made)
        self.allowance.adopt(config)
        self.origins.forget()
        self.dispatch.load(config)
        self.discovery.load(config)
        changed = self.registry.load(config.providers, self.discovery.finds)
        self.discovery.add_certain()
        for provider_there in changed:
            self.discovery.check(provider_there)
        for callback in self._watchers:
            callback()
        known = {str(one) for one in old.loaded.warnings}
        return Reload(
            clock.wall(),
            trigger,
            needs_restart=needs_restart,
            warnings=tuple(one for one in again.warnings if str(one) not in known),
        )

    def _generation(self, loaded: Loaded, before: Generation | None) -> Generation:
        """Make what follows from one configuration; keep what has not changed."""
        config = loaded.config
        access, log = self._access(config, before), self._log(config, before)
        repeats = self._repeats(config, before)
        carrier = Carrier(
            config,
            self.client,
            self.ticker,
            self.origins,
            self.owners,
            self.translator,
        )
        pipeline = Pipeline(
            config,
            carrier,
            Passages(
                config,
                self.registry,
                self.catalog,
                self.owners,
                access,
                self.allowance,
                self.authenticator,
                repeats,
            ),
            Desk(
                log,
                self.metrics,
                self._ledger(config),
                self.tail,
                self.traces,
                asyncio.get_running_loop().call_soon,
            ),
            self.dispatch,
            instance_id=self._instance_id,
            look_again=self.discovery.look_now,
        )
        if self._body_log(config) is not None:
            pipeline.express.closed = True  # nothing is copied on its way
        return Generation(loaded, access, log, pipeline, repeats)

    def _allowance(self, config: Config) -> Allowance:
        state, records = self.state, self.records
        before = NOTHING_SPENT if records is None else records.usage
        self._spending = Spending(state.money, before)
        self.limits = RateLimits(config.rate_limits, state.rates, state.slots)
        return Allowance(
            self.limits,
            Budgets(config.budgets, self._spending),
            self.catalog,
        )

    def _kept(self) -> Kept | None:
        repeats = self._now.repeats
        return None if repeats is None else Kept(repeats.counts, *repeats.size)

    def _repeats(self, config: Config, before: Generation | None) -> Repeats | None:
        """Keep what was kept as long as nothing makes other answers of it."""
        if before is not None:
            old = before.loaded.config
            if (old.cache, old.models, old.providers) == (
                config.cache,
                config.models,
                config.providers,
            ):
                return before.repeats
        cache = open_cache(config, self.state.blobs)
        if cache is None:
            return None
        return Repeats(cache, Flights(self.tasks), self.catalog)

    def _access(self, config: Config, before: Generation | None) -> Access:
        # Heads remember by it that they were admitted (docs/adr/0007).
        if config.auth.enabled:
            return OpenAccess((), ()) if before is None else before.access
        names = (config.server.allowed_hosts, config.server.cors.allowed_origins)
        if before is not None:
            server = before.loaded.config.server
            if (server.allowed_hosts, server.cors.allowed_origins) == names:
                return before.access
        return Access(*names)

    def _ledger(self, config: Config) -> Ledger | None:
        is_wanted = config.logging.request_log.retain_days > 0
        return self.records.ledger if self.records is not None and is_wanted else None

    def _body_log(self, config: Config) -> BodyLog | None:
        wanted = config.logging.request_log
        is_wanted = wanted.bodies and wanted.retain_days > 0
        return self.records.bodies if self.records is not None and is_wanted else None

    def _log(self, config: Config, before: Generation | None) -> RequestLog:
        wanted = config.logging
        if before is not None and before.loaded.config.logging == wanted:
            return before.log
        return RequestLog(
            wanted.format,
            enabled=wanted.request_log.enabled,
            soon=asyncio.get_running_loop().call_soon,
        )

    def _take(self, generation: Generation) -> None:
        self._now = generation
        self.loaded, self.config = generation.loaded, generation.loaded.config
        self._bodies = self._body_log(self.config)
        self.access, self.pipeline = generation.access, generation.pipeline
        self.express = generation.pipeline.express

    def _generations(self) -> list[Generation]:
        return [self._now, *self._former]

    # -- what changes as providers do -----------------------------------------------

    def _rebuild(self) -> None:
        self._catalog = Catalog(self.config, self.registry.providers)
        self.metrics.know_models(self._catalog.labels)
        self.dispatch.queue.reconsider()

    def _take_prices(self, prices: PriceMap | None) -> None:
        if prices is not None:
            self.registry.price(prices.by_kind())

    def _keyring(self, config: Config) -> Keyring:
        url = config.auth.jwt.jwks_url
        proxy = None if url is None else config.outbound.proxy_for(url)
        return make_keyring(config, self.client.fetch_for(Tls(), proxy))

    def _fetch_for(self, provider: ProviderConfig) -> Fetch:
        origin = self.origins(provider)
        return self.client.fetch_for(origin.tls, origin.proxy)

    def _provider_gauges(self) -> list[ProviderGauges]:
        circuits: Counter[str] = Counter()
        cooling: Counter[str] = Counter()
        for one in self.dispatch.hindrances(self._catalog):
            is_closed = one.circuit is Circuit.CLOSED
            (cooling if is_closed else circuits)[one.where.provider] += 1
        presence = self.dispatch.queue.presence
        return [
            ProviderGauges(
                p.id,
                p.active,
                p.status in WELL,
                p.slots,
                presence(p.id).length,
                circuits[p.id],
                cooling[p.id],
            )
            for p in self.registry.providers
        ]

    def _connections(self) -> list[tuple[str, str, int]]:
        rows: list[tuple[str, str, int]] = []
        for provider in self.registry.providers:
            busy, idle = self.client.counts(self.origins(provider.config))
            rows += [(provider.id, "busy", busy), (provider.id, "idle", idle)]
        return rows


def _salt_secret(config: Config) -> bytes:
    """What salts of prefix caches are made of; kept, so that caches outlive a restart."""
    try:
        return kept_secret(config.data_dir, "cache-salt").encode()
    except OSError as error:
        _log.warning("salts of prefix caches hold until the restart alone: %s", error)
        return secrets.token_bytes(32)


def _open_traces(config: Config) -> Traces | None:
    if config.otlp_endpoint is None:
        return None
    try:
        return Traces(config.otlp_endpoint, __version__)
    except NoTraces as error:
        _log.warning("%s", error)
        return None


def _read_prices(config: Config) -> PriceMap | None:
    """Read the prices that were imported; None, and those before hold, if none can be."""
    try:
        return load_prices(config.data_dir)
    except (NoPriceMap, OSError) as error:
        _log.warning("The imported prices cannot be used: %s", error)
        return None


def _report(error: BaseException) -> None:
    _log.error("background work failed", exc_info=error)


def _tell(outcome: Reload) -> None:
    if not outcome.ok:
        _log.error(
            "reload (%s) failed, nothing has changed: %s",
            outcome.trigger,
            "; ".join(str(problem) for problem in outcome.problems),
        )
        return
    _log.info("reload (%s): the new configuration is in force", outcome.trigger)
    for problem in outcome.warnings:
        _log.warning("%s", problem)
    if outcome.needs_restart:
        keys = ", ".join(outcome.needs_restart)
        _log.warning("%s: left as it was, a restart is needed to change it", keys)


def describe(config: Config, port: int | None = None) -> str:
    """The address that callers use, without a closing slash.

    `port` is the one that was taken, where the configuration leaves it open.
    """
    server = config.server
    scheme = "https" if server.tls is not None else "http"
    host = "127.0.0.1" if server.host in _EVERYWHERE else server.host
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{port or server.port}"
