"""The table of names: from what a caller calls a model to who could serve it.

A snapshot of the configuration and the live providers, built anew whenever one
of them changes, so that resolving a name is a look-up and nothing more. Raises
nothing: `select` turns a resolution without candidates into an error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from providers.base import EMBEDDING, Operation
from proxy.config import Config, ModelConfig
from proxy.routing.model import Candidate, Model, live, peers
from proxy.routing.names import Names
from proxy.routing.needs import MOST_BYTES_PER_TOKEN, UNLIMITED, Needs
from proxy.routing.registry import Provider

AUTO: Final = "auto"

_LONGEST_NAME: Final = 128
_TALKING: Final = frozenset(
    {
        "chat",
        "completions",
        "responses",
        "messages",
        "count_tokens",
        "ollama_chat",
        "ollama_generate",
    }
)
_NOT_FOR_TALK: Final = re.compile(
    r"embed|rerank|moderation|whisper|transcri|tts|audio|realtime|dall-e|image|sora"
    r"|babbage|davinci|instruct-0914|guard",
    re.IGNORECASE,
)


class Missing(StrEnum):
    """Why nobody can serve a name."""

    UNKNOWN = "unknown"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Resolution:
    """Who could serve `name`, best first; `missing` says why nobody can.

    `kept_out` are the providers that have the model but cannot serve it now, or
    not this operation. `listed` are all model ids there are, for `near`. `everyone`
    are all candidates, those out of use included; `config` is the model's, if it has
    one. `peers` are the candidates in groups among which nothing prefers one. A body
    of up to `ample_bytes` can be served by the candidates as they stand, in this
    order, as far as can be known beforehand; -1 where each request must be looked at.
    `narrow` leaves out who may not be asked, also of fallbacks.
    """

    name: str
    operation: str
    candidates: tuple[Candidate, ...]
    missing: Missing | None = None
    kept_out: tuple[Provider, ...] = ()
    listed: tuple[str, ...] = ()
    everyone: tuple[Candidate, ...] = ()
    config: ModelConfig | None = None
    narrow: Callable[[Resolution], Resolution] | None = field(
        default=None, compare=False, repr=False
    )
    peers: tuple[tuple[Candidate, ...], ...] = field(init=False)
    ample_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        groups = peers(self.candidates)
        object.__setattr__(self, "peers", groups)
        object.__setattr__(self, "ample_bytes", _ample_bytes(groups))

    def at(self, provider_id: str) -> Resolution:
        """Answer the same, at one provider alone: no other, and no fallbacks."""
        everyone = tuple(c for c in self.everyone if c.provider.id == provider_id)
        usable = tuple(c for c in self.candidates if c.provider.id == provider_id)
        return replace(
            self,
            candidates=usable,
            everyone=everyone,
            missing=None if usable else self.missing or Missing.UNAVAILABLE,
            kept_out=tuple(c.provider for c in everyone),
            config=None,
        )

    @property
    def near(self) -> tuple[str, ...]:
        """Up to three ids that resemble an unknown name. Costs a scan: errors only."""
        if self.missing is not Missing.UNKNOWN:
            return ()
        # Callers may send a name of any length; comparing costs its square.
        wanted = self.name[:_LONGEST_NAME].lower()
        by_lower = {id_.lower(): id_ for id_ in self.listed}
        close = difflib.get_close_matches(wanted, by_lower, n=3, cutoff=0.5)
        return tuple(by_lower[name] for name in close)


class Catalog:
    """What callers may name, as of one moment. `models` are those to be listed."""

    def __init__(self, config: Config, providers: Sequence[Provider]) -> None:
        self._names = names = Names(config, providers)
        self._providers = {provider.id: provider for provider in providers}
        self._default = _default_model(config)
        self._resolved: dict[tuple[str, str], Resolution] = {}
        self.models: tuple[Model, ...] = names.listed
        self._ids = tuple(model.id for model in self.models)
        self._by_merit = tuple(sorted(self.models, key=_merit))
        self.labels = names.labels

    @property
    def ready(self) -> bool:
        """True when at least one model can be served."""
        return any(model.live for model in self.models) or any(
            live(wildcard.candidates_for("")) for wildcard in self._names.wildcards
        )

    def resolve(self, name: str, operation: Operation) -> Resolution:
        """Answer who could serve a model of this name. Names known cost a look-up."""
        known = self._resolved.get((name, operation.name))
        if known is not None:
            return known
        model = self._names.get(name)
        if model is None:
            return self._resolve_unnamed(name, operation)
        judged = self._judged(name, operation, model.candidates, model.live)
        resolution = replace(judged, config=model.config)
        # Bounded by the names there are times the operations there are.
        self._resolved[name, operation.name] = resolution
        return resolution

    def suitable(self, operation: Operation, needs: Needs) -> Resolution:
        """Answer `auto` for a request that its first choice lacks something for."""
        return self._automatic(operation, lambda c: needs.missing(c.limits) is None)

    def find(self, name: str) -> Model | None:
        """Answer the model that a name, alias or provider/model stands for."""
        return self._names.get(name)

    def miss(self, name: str, operation: str = "") -> Resolution:
        """Make the resolution of a name that stands for nothing."""
        return Resolution(name, operation, (), Missing.UNKNOWN, listed=self._ids)

    def at(self, provider_id: str) -> tuple[Model, ...]:
        """Answer the listed models that a provider could serve."""
        return tuple(
            model
            for model in self.models
            if any(c.provider.id == provider_id for c in model.candidates)
        )

    def _resolve_unnamed(self, name: str, operation: Operation) -> Resolution:
        provider = self._providers.get(name)
        if provider is not None:
            return self._first_fit(name, operation, self._names.at(name), (provider,))
        candidates = self._names.wild(name) or self._names.unlisted(name)
        if candidates:
            judged = self._judged(name, operation, candidates, live(candidates))
            return replace(judged, config=candidates[0].model)
        if name == AUTO:
            return self._automatic(operation)
        return self.miss(name, operation.name)

    def _automatic(
        self, operation: Operation, fits: Callable[[Candidate], bool] | None = None
    ) -> Resolution:
        if self._default is not None and self._default != AUTO:
            chosen = self.resolve(self._default, operation)
            model = self._names.get(self._default)
            if fits is not None:
                able = tuple(filter(fits, chosen.candidates))
                chosen = replace(chosen, candidates=able)
            if chosen.candidates and (model is None or _may_suit(model, operation)):
                return replace(chosen, name=AUTO)
        everybody = tuple(self._providers.values())
        return self._first_fit(AUTO, operation, self._by_merit, everybody, fits)

    def _first_fit(
        self,
        name: str,
        operation: Operation,
        models: Sequence[Model],
        providers: tuple[Provider, ...],
        fits: Callable[[Candidate], bool] | None = None,
    ) -> Resolution:
        """Take the first model that can do it now. One model: who sends `auto` gets
        failover between its providers, never a second model behind their back.
        """
        for suits in (_seems_to_suit, _may_suit):
            for model in models:
                able = _able(model.live, operation)
                if fits is not None:
                    able = tuple(filter(fits, able))
                if able and suits(model, operation):
                    return Resolution(
                        name, operation.name, able,
                        everyone=model.candidates, config=model.config,
                    )  # fmt: skip
        usable = [provider for provider in providers if provider.usable]
        missing = Missing.UNSUPPORTED if usable else Missing.UNAVAILABLE
        return Resolution(name, operation.name, (), missing, providers)

    def _judged(
        self,
        name: str,
        operation: Operation,
        candidates: tuple[Candidate, ...],
        alive: tuple[Candidate, ...],
    ) -> Resolution:
        able = _able(alive, operation)
        if able:
            return Resolution(name, operation.name, able, everyone=candidates)
        down = _able(candidates, operation)
        kept_out = tuple(c.provider for c in (down or candidates))
        if down or not candidates:
            # No candidates at all: configured, at a provider that is not found yet.
            missing = Missing.UNAVAILABLE
        else:
            missing = Missing.UNSUPPORTED
        return Resolution(
            name, operation.name, (), missing, kept_out, everyone=candidates
        )


def _ample_bytes(groups: tuple[tuple[Candidate, ...], ...]) -> int:
    limits = [candidate.limits for group in groups for candidate in group]
    if any(len(group) > 1 for group in groups) or any(lim.lacking for lim in limits):
        return -1
    windows = {lim.window for lim in limits}
    if len(windows) > 1:
        return -1  # who has room for it goes before who may have too little
    return min(windows, default=UNLIMITED) * MOST_BYTES_PER_TOKEN


def _able(
    candidates: tuple[Candidate, ...], operation: Operation
) -> tuple[Candidate, ...]:
    return tuple(
        candidate
        for candidate in candidates
        if candidate.provider.adapter.way(operation) is not None
    )


def _may_suit(model: Model, operation: Operation) -> bool:
    if operation.name in EMBEDDING:
        return model.kind in (None, "embeddings")
    return operation.name not in _TALKING or model.kind != "embeddings"


def _seems_to_suit(model: Model, operation: Operation) -> bool:
    """As `_may_suit`, judging a model of which nobody says what it is for by its name:
    a cloud lists transcribers and painters beside those that talk.
    """
    if not _may_suit(model, operation):
        return False
    if model.kind is not None:
        return True
    if operation.name in EMBEDDING:
        return "embed" in model.id.lower()
    return operation.name not in _TALKING or not _NOT_FOR_TALK.search(model.id)


def _merit(model: Model) -> tuple[bool, bool, bool, int, str]:
    """Warm before cold, local before cloud, then priority, then id."""
    if model.state == "unavailable":
        return (True, True, True, 0, model.id)
    best = model.live[0].provider
    return (False, not model.warm, not best.local, best.config.priority, model.id)


def _default_model(config: Config) -> str | None:
    if config.routing.default_model is not None:
        return config.routing.default_model
    return next((model.id for model in config.models if model.is_default), None)


__all__ = ["AUTO", "Candidate", "Catalog", "Missing", "Model", "Resolution"]
