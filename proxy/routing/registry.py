"""The live providers: what the configuration says of each and what was seen of it.

Keyed by id, so that what is known of a provider outlives a reload. Only this
file changes what was seen; whoever builds on it registers with `on_change`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from providers.base import ASKABLE, Adapter, FoundModel, Settings
from providers.registry import KINDS
from providers.wire.dialect import Dialect
from proxy.config import ProviderConfig
from proxy.config.schema_models import Pricing
from proxy.routing.status import OUT_OF_USE, WELL, Status

_MOST_ABSENT: Final = 256


class Finding(Struct, frozen=True):
    """What one look at a provider showed. None keeps what was known before.

    `missed`: it failed, and did not merely refuse our key or limit us.
    """

    health: Status
    error: str | None = None
    models: tuple[FoundModel, ...] | None = None
    slots: int | None = None
    latency_s: float | None = None
    missed: bool = False


def _no_secret() -> bytes:
    return b""


def _nothing() -> Mapping[str, Pricing]:
    return MappingProxyType({})


@dataclass(slots=True, eq=False)
class Provider:
    """A provider as it lives.

    `held` is the operator's word (disabled, draining) and beats `health`.
    `failures` counts looks in a row that found something wrong, `misses` those in a
    row by which it goes offline; `active` the leases held now (whoever leases a slot counts it); `spare` are adapters for
    its further keys; `prices` are those of its kind by upstream model, where known;
    `salt_secret` makes the salts of tenants, where it is to get some; `absent` are
    operations that it has no address for though its kind has, by upstream model.
    """

    config: ProviderConfig
    adapter: Adapter
    health: Status = Status.UNKNOWN
    held: Status | None = None
    models: tuple[FoundModel, ...] = ()
    found_slots: int | None = None
    latency_s: float | None = None
    last_error: str | None = None
    failures: int = 0
    misses: int = 0
    active: int = 0
    spare: tuple[Adapter, ...] = ()
    prices: Mapping[str, Pricing] = field(default_factory=_nothing)
    salt_secret: bytes = field(default=b"", repr=False)
    absent: set[tuple[str, str]] = field(default_factory=set)

    @property
    def id(self) -> str:
        return self.config.id

    @property
    def kind(self) -> str:
        return self.config.kind

    @property
    def local(self) -> bool:
        return self.config.type == "local"

    @property
    def status(self) -> Status:
        return self.held or self.health

    @property
    def usable(self) -> bool:
        return self.status not in OUT_OF_USE

    def adapter_with(self, key: int) -> Adapter:
        """Answer the adapter that uses the key of this place; the first, if none is."""
        return self.spare[key - 1] if 0 < key <= len(self.spare) else self.adapter

    @property
    def slots(self) -> int | None:
        """How many requests it takes at once; None for no limit."""
        if self.config.max_concurrent_given or self.config.max_concurrent is not None:
            return self.config.max_concurrent
        if self.found_slots is not None:
            return self.found_slots
        return self.adapter.capabilities.default_slots


class Registry:
    """All providers, those of the configuration and those found."""

    def __init__(
        self,
        configs: Iterable[ProviderConfig] = (),
        kinds: Mapping[str, type[Adapter]] = KINDS,
        salt_secret: Callable[[], bytes] = _no_secret,
    ) -> None:
        self.kinds = kinds
        self._salt_secret = salt_secret
        self._providers: dict[str, Provider] = {}
        self._watchers: list[Callable[[], None]] = []
        self._prices: Mapping[str, Mapping[str, Pricing]] = MappingProxyType({})
        self.providers: tuple[Provider, ...] = ()
        self.load(configs)

    def load(
        self,
        configs: Iterable[ProviderConfig],
        is_still_found: Callable[[ProviderConfig], bool] | None = None,
    ) -> tuple[Provider, ...]:
        """Take the configured providers; keep what is known of those that stay.

        `is_still_found` tells which found ones do, all when it is None. Answers
        those that are new or changed: what was seen of them may no longer hold.
        """
        wanted = {config.id: config for config in configs}
        found = [p.config for p in self._providers.values() if p.config.discovered]
        kept = {
            config.id: config
            for config in found
            if config.id not in wanted
            and (is_still_found is None or is_still_found(config))
        }
        before = {id_: p.config for id_, p in self._providers.items()}
        self._providers = {
            id_: self._renewed(config) for id_, config in (wanted | kept).items()
        }
        self._changed()
        return tuple(p for p in self.providers if before.get(p.id) is not p.config)

    def price(self, prices: Mapping[str, Mapping[str, Pricing]]) -> None:
        """Take what models cost: by kind of provider, then by the upstream's name."""
        self._prices = prices
        for provider in self.providers:
            provider.prices = prices.get(provider.kind, _nothing())

    def add(self, config: ProviderConfig) -> Provider:
        """Take a provider that was found; its id must be free."""
        provider = self._providers[config.id] = self._renewed(config)
        self._changed()
        return provider

    def get(self, id_: str) -> Provider | None:
        return self._providers.get(id_)

    def first_of_kind(self, kind: str) -> Provider | None:
        """Answer the first enabled one of a kind, one that is not offline if any."""
        enabled = [
            p
            for p in self.providers
            if p.kind == kind and p.held is not Status.DISABLED
        ]
        return min(enabled, key=lambda p: not p.usable, default=None)

    def report(self, provider: Provider, finding: Finding) -> None:
        """Note what a look showed; watchers hear of it if it changes a route."""
        before = (provider.health, provider.models, provider.found_slots)
        provider.health = finding.health
        provider.last_error = finding.error
        provider.failures = provider.failures + 1 if finding.error else 0
        provider.misses = provider.misses + 1 if finding.missed else 0
        provider.latency_s = finding.latency_s
        if finding.models is not None:
            provider.models = finding.models
        if finding.slots is not None:
            provider.found_slots = finding.slots
        if (provider.health, provider.models, provider.found_slots) != before:
            self._changed()

    def saw(
        self,
        provider: Provider,
        health: Status,
        error: str | None,
        *,
        missed: bool = False,
    ) -> None:
        """Note what a request showed; it says nothing of models and latency."""
        before = provider.health
        provider.health = health
        provider.last_error = error
        provider.failures = provider.failures + 1 if error else 0
        provider.misses = provider.misses + 1 if missed else 0
        if health is not before:
            self._changed()

    def lacks(self, provider: Provider, model: str, operation: str) -> None:
        """Note that a provider has no address for an operation; a reload forgets it."""
        if len(provider.absent) >= _MOST_ABSENT:  # names of models are callers' choice
            provider.absent.clear()
        provider.absent.add((model, operation))
        if ASKABLE[operation].dialect is Dialect.CHAT:
            self._changed()  # what is remembered of such requests holds no more

    def hold(self, provider: Provider, held: Status | None) -> None:
        """Disable or drain a provider, or (None) give it back to its health."""
        provider.held = held
        self._changed()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` after any change that may alter a route."""
        self._watchers.append(callback)

    def adapter(self, config: ProviderConfig, key: int = 0) -> Adapter:
        """Make the adapter that speaks to a provider, with the key of that place."""
        settings = Settings(
            id=config.id,
            base_url=config.base_url,
            key=config.keys[key] if config.keys else None,
            headers=config.headers,
            forward_headers=frozenset(config.forward_headers),
            auth_type=config.auth_type,
            forward_auth=config.forward_auth,
        )
        return self.kinds[config.kind](settings)

    def _renewed(self, config: ProviderConfig) -> Provider:
        provider = self._kept(config)
        wants_salt = config.cache_salt and config.kind == "vllm"
        provider.absent.clear()
        provider.salt_secret = self._salt_secret() if wants_salt else b""
        return provider

    def _kept(self, config: ProviderConfig) -> Provider:
        held = None if config.enabled else Status.DISABLED
        known = self._providers.get(config.id)
        if known is None or known.kind != config.kind:
            return Provider(
                config,
                self.adapter(config),
                held=held,
                spare=self._spare(config),
                prices=self._prices.get(config.kind, _nothing()),
            )
        was = known.config
        if was != config:
            known.config, known.adapter = config, self.adapter(config)
            known.spare = self._spare(config)
            if was.enabled != config.enabled:
                known.held = held
            if was.base_url != config.base_url:
                _forget(known)
        return known

    def _spare(self, config: ProviderConfig) -> tuple[Adapter, ...]:
        """Make an adapter for every key but the first."""
        return tuple(self.adapter(config, key) for key in range(1, len(config.keys)))

    def _changed(self) -> None:
        self.providers = tuple(
            sorted(self._providers.values(), key=lambda p: (p.config.priority, p.id))
        )
        for callback in self._watchers:
            callback()


def _forget(provider: Provider) -> None:
    """It is another server now. Its models stay until that one has told its own:
    who names one of them meanwhile is not turned away.
    """
    provider.health = Status.UNKNOWN
    provider.failures = provider.misses = 0
    provider.last_error = provider.latency_s = provider.found_slots = None


__all__ = ["OUT_OF_USE", "WELL", "Finding", "Provider", "Registry", "Status"]
