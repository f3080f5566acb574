"""How the names of models are made, in the order in which they are looked up.

Configured id, alias, provider-id/model, (provider id alone,) discovered id with
or without `:latest`, wildcard, provider-id/model that the provider does not list.
The first to claim a name keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from providers.base import FoundModel
from proxy.config import Config, ModelConfig
from proxy.routing.model import Candidate, Model, Wildcard, live
from proxy.routing.registry import Provider

_LATEST: Final = ":latest"


class Names:
    """Every name there is. `listed` are the models to show, `labels` their ids and
    aliases.
    """

    def __init__(self, config: Config, providers: Sequence[Provider]) -> None:
        self._providers = {provider.id: provider for provider in providers}
        self._offers = _offers(providers)
        configured = [m for m in config.models if not m.is_wildcard]
        models = [self._configured(model) for model in configured]
        found = self._found(providers)

        self._names: dict[str, Model] = {model.id: model for model in models}
        self._claim((alias, m) for m, c in zip(models, configured, strict=True)
                    for alias in c.aliases)  # fmt: skip
        self._at = self._scoped(configured, providers)
        aliases = frozenset(self._names)
        self._claim((model.id, model) for own in self._at.values() for model in own)
        self._claim((name, m) for m in found for name in _spellings(m.id)
                    if self._may_be_called(m, name))  # fmt: skip

        self.wildcards = _wildcards(config, self._providers)
        self.listed = (*models, *self._worth_listing(found, models))
        self.labels = aliases | {model.id for model in found}

    def get(self, name: str) -> Model | None:
        return self._names.get(name)

    def at(self, provider_id: str) -> tuple[Model, ...]:
        """A provider's models, those it should use by default first."""
        return self._at[provider_id]

    def wild(self, name: str) -> tuple[Candidate, ...]:
        """Answer by the longest wildcard that matches; empty when none does."""
        for wildcard in self.wildcards:
            if name.startswith(wildcard.prefix) and len(name) > len(wildcard.prefix):
                return wildcard.candidates_for(name.removeprefix(wildcard.prefix))
        return ()

    def unlisted(self, name: str) -> tuple[Candidate, ...]:
        """Answer provider-id/model for a model that the provider has not listed.

        Clouds have more than they list. A local server that has told what it has
        is believed.
        """
        provider_id, slash, rest = name.partition("/")
        provider = self._providers.get(provider_id)
        if provider is None or not slash or not rest:
            return ()
        if provider.local and provider.models:
            return ()
        return (Candidate(provider, rest),)

    def _claim(self, named: Iterable[tuple[str, Model]]) -> None:
        for name, model in named:
            self._names.setdefault(name, model)

    def _configured(self, config: ModelConfig) -> Model:
        listed = [
            self._candidate(id_, upstream or config.id, config)
            for id_, upstream in config.served_by
            if id_ in self._providers
        ]
        return self._model(config.id, _warm_first(listed), config)

    def _candidate(
        self, provider_id: str, upstream_model: str, config: ModelConfig
    ) -> Candidate:
        found = self._offers.get((provider_id, upstream_model))
        provider = self._providers[provider_id]
        return Candidate(provider, upstream_model, config, found)

    def _found(self, providers: Sequence[Provider]) -> list[Model]:
        by_id: dict[str, list[tuple[Provider, FoundModel]]] = {}
        for provider in providers:
            for model in provider.models:
                by_id.setdefault(model.id, []).append((provider, model))
        return [self._shared(id_, offers) for id_, offers in by_id.items()]

    def _shared(self, id_: str, offers: list[tuple[Provider, FoundModel]]) -> Model:
        if len(offers) > 1:
            offers = sorted(offers, key=_preference)
        candidates = tuple(Candidate(p, model.id, found=model) for p, model in offers)
        return self._model(id_, candidates)

    def _scoped(
        self, configured: list[ModelConfig], providers: Sequence[Provider]
    ) -> dict[str, tuple[Model, ...]]:
        """Make provider-id/model, for each provider its best default first."""
        scoped: dict[str, dict[str, Model]] = {p.id: {} for p in providers}
        for config in sorted(configured, key=lambda m: not m.is_default):
            for id_, upstream in config.served_by:
                if id_ in scoped:
                    candidate = self._candidate(id_, upstream or config.id, config)
                    self._scope(scoped[id_], candidate, (config.id,), config)
        for provider in providers:
            for model in sorted(provider.models, key=lambda m: not m.warm):
                own = Candidate(provider, model.id, found=model)
                self._scope(scoped[provider.id], own)
        return {id_: tuple(own.values()) for id_, own in scoped.items()}

    def _scope(
        self,
        own: dict[str, Model],
        candidate: Candidate,
        names: tuple[str, ...] = (),
        config: ModelConfig | None = None,
    ) -> None:
        for name in (*names, *_spellings(candidate.upstream_model)):
            id_ = f"{candidate.provider.id}/{name}"
            if id_ not in own:
                own[id_] = self._model(id_, (candidate,), config)

    def _model(
        self,
        id_: str,
        candidates: tuple[Candidate, ...],
        config: ModelConfig | None = None,
    ) -> Model:
        offers = (candidate.found for candidate in candidates)
        found = next((offer for offer in offers if offer is not None), None)
        return Model(id_, config, found, candidates, live(candidates))

    def _worth_listing(
        self, found: list[Model], configured: list[Model]
    ) -> Iterator[Model]:
        """Those found, less what the operator has given a name of its own."""
        renamed = {_place(c) for model in configured for c in model.candidates}
        for model in found:
            if self._names.get(model.id) is model:
                if any(_place(c) not in renamed for c in model.candidates):
                    yield model
            elif model.id in self._providers:
                # The name means a provider: shown by one that means the model.
                scoped = (f"{c.provider.id}/{model.id}" for c in model.candidates)
                yield from (self._names[id_] for id_ in scoped)

    def _may_be_called(self, model: Model, name: str) -> bool:
        """A provider's id means that provider; its own model may be called like it."""
        own = any(c.provider.id == name for c in model.candidates)
        return own or name not in self._providers


def _place(candidate: Candidate) -> tuple[str, str]:
    return (candidate.provider.id, candidate.upstream_model)


def _offers(providers: Sequence[Provider]) -> dict[tuple[str, str], FoundModel]:
    return {
        (provider.id, name): model
        for provider in providers
        for model in provider.models
        for name in _spellings(model.id)
    }


def _spellings(id_: str) -> tuple[str, ...]:
    """A model id, and what else it goes by: Ollama's tag `latest` may be left out."""
    if id_.endswith(_LATEST):
        return (id_, id_.removesuffix(_LATEST))
    return (id_,) if ":" in id_ else (id_, id_ + _LATEST)


def _preference(offer: tuple[Provider, FoundModel]) -> tuple[int, bool, bool, str]:
    provider, model = offer
    return (provider.config.priority, not model.warm, not provider.local, provider.id)


def _warm_first(listed: list[Candidate]) -> tuple[Candidate, ...]:
    """Order within what the operator's list leaves open: it says who is preferred,
    but of neighbours with the same priority the one that is loaded goes first.
    """
    ordered: list[Candidate] = []
    for _, group in groupby(listed, key=_rank_of_provider):
        ordered += sorted(group, key=lambda c: c.warm is False)
    return tuple(ordered)


def _rank_of_provider(candidate: Candidate) -> tuple[int, bool]:
    return (candidate.provider.config.priority, candidate.provider.local)


def _wildcards(config: Config, providers: dict[str, Provider]) -> tuple[Wildcard, ...]:
    wildcards = [
        Wildcard(
            model.id.removesuffix("*"),
            model,
            tuple((providers[id_], upstream) for id_, upstream in model.served_by
                  if id_ in providers),
        )
        for model in config.models
        if model.is_wildcard
    ]  # fmt: skip
    return tuple(sorted(wildcards, key=lambda w: len(w.prefix), reverse=True))
