"""Chooses who serves, or raises what the caller shall be told.

The catalogue's codes for "nobody": unknown names, operations nobody can do,
providers that are down, routes that nothing is configured for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.config import Config
from proxy.core.errors import CallerFault, GatewayFault, ProviderFault
from proxy.routing.catalog import Candidate, Catalog, Missing, Model, Resolution
from proxy.routing.registry import Provider, Registry, Status

RETRY_AFTER_S: Final = 5.0
"""Down providers are looked at again when somebody asks, this often at most."""

_SHOWN_NAME: Final = 128


def candidates(resolution: Resolution) -> tuple[Candidate, ...]:
    """Answer who could serve, best first.

    Raises CallerFault `model_not_found` or `unsupported_operation`, ProviderFault
    `all_providers_unavailable`.
    """
    if resolution.candidates:
        return resolution.candidates
    if resolution.missing is Missing.UNSUPPORTED:
        raise CallerFault(
            "unsupported_operation",
            f"{_quoted(resolution.name)} is served by {_ids(resolution.kept_out)}, "
            f"which cannot do {resolution.operation}.",
            param="model",
        )
    if resolution.missing is Missing.UNAVAILABLE:
        raise _unavailable(
            f"No provider of {_quoted(resolution.name)} is available",
            resolution.kept_out,
        )
    raise CallerFault("model_not_found", _not_found(resolution), param="model")


def model(catalog: Catalog, name: str) -> Model:
    """Answer the model to be shown for a name; raises CallerFault `model_not_found`."""
    found = catalog.find(name)
    if found is None:
        message = _not_found(catalog.miss(name))
        raise CallerFault("model_not_found", message, param="model")
    return found


def by_id(registry: Registry, id_: str) -> Provider:
    """Answer the provider of `/providers/<id>`; one that is offline is tried.

    Raises CallerFault `provider_not_found`, ProviderFault if it is held.
    """
    provider = registry.get(id_)
    if provider is None:
        raise provider_not_found(id_)
    return _in_use(provider)


def provider_not_found(id_: str, param: str | None = None) -> CallerFault:
    return CallerFault(
        "provider_not_found", f"There is no provider {_quoted(id_)}.", param=param
    )


def by_id_or_kind(registry: Registry, name: str) -> Provider:
    """Answer the provider that `/ollama` or `/lmstudio` leads to: an id first, else
    the first enabled one of that kind. Raises GatewayFault `not_configured`.
    """
    provider = registry.get(name) or registry.first_of_kind(name)
    if provider is None:
        raise GatewayFault(
            "not_configured",
            f"No provider is called {_quoted(name)} or is of that kind: start one on "
            "its usual port, or add it under `providers` in the configuration.",
        )
    return _in_use(provider)


def for_unknown_paths(registry: Registry, config: Config) -> Provider:
    """Answer the provider for /v1 paths that name no model.

    It is `routing.defaultProvider`, else the first enabled local one, of these one
    that is up if any. Raises GatewayFault `not_configured`.
    """
    named = config.routing.default_provider
    if named is not None:
        return by_id(registry, named)
    local = [p for p in registry.providers if p.local and p.held is None]
    if not local:
        raise GatewayFault(
            "not_configured",
            "No provider takes requests for this path: set `routing.defaultProvider` "
            "in the configuration, or add a local provider.",
        )
    return min(local, key=lambda p: not p.usable)


def _in_use(provider: Provider) -> Provider:
    if provider.held is not None:
        raise _unavailable("The provider is not available", (provider,))
    return provider


def _unavailable(what: str, providers: Iterable[Provider]) -> ProviderFault:
    states = {p.id: _word(p.status) for p in providers}
    why = ", ".join(f"{id_} is {state}" for id_, state in states.items())
    return ProviderFault(
        "all_providers_unavailable",
        f"{what}: {why}." if why else f"{what}: none is known.",
        retry_after_s=RETRY_AFTER_S,
    )


def _word(status: Status) -> str:
    return "not in use yet" if status is Status.UNKNOWN else status.value


def _not_found(resolution: Resolution) -> str:
    message = f"There is no model {_quoted(resolution.name)}."
    if resolution.near:
        near = ", ".join(_quoted(id_) for id_ in resolution.near)
        return f"{message} Did you mean {near}?"
    if not resolution.listed:
        return f"{message} No provider with a model is known yet."
    return f"{message} GET /v1/models lists those there are."


def _ids(providers: Iterable[Provider]) -> str:
    return ", ".join(dict.fromkeys(p.id for p in providers)) or "nobody"


def _quoted(name: str) -> str:
    return f"`{name if len(name) <= _SHOWN_NAME else name[:_SHOWN_NAME] + '…'}`"
