"""What no single key can tell: ids, references, cycles, files, addresses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path as FilePath
from urllib.parse import urlsplit

from proxy.config.check_auth import check_auth
from proxy.config.check_state import check_state
from proxy.config.env import is_own_address, provider_variable
from proxy.config.problems import Path, Report, did_you_mean
from proxy.config.schema_models import ModelConfig
from proxy.config.schema_providers import ProviderEntry
from proxy.config.validate import Validated


def check(read: Validated, provider_ids: Collection[str], report: Report) -> None:
    """Check references between the parts of a file.

    `provider_ids` are all that a model may name: configured, even if otherwise
    wrong, and those that discovery may add.
    """
    check_auth(read.file.auth, report)
    check_state(read.file, report)
    _check_providers(read, report)
    _check_files(read, report)
    _check_models(read, provider_ids, report)
    _check_names(read.models, report)
    _check_defaults(read, report)
    for key in ("fallbacks", "contextFallbacks"):
        _check_cycles(read.models, key, report)
    default = read.file.routing.default_provider
    if default is not None:
        _check_known(("routing", "defaultProvider"), default, provider_ids, report)


def _check_providers(read: Validated, report: Report) -> None:
    server = read.file.server
    ids: dict[str, int] = {}
    variables: dict[str, str] = {}
    for at, entry in read.providers:
        path: Path = ("providers", at)
        if entry.id in ids:
            _say_repeated((*path, "id"), entry.id, report)
        elif (other := variables.get(provider_variable(entry.id, ""))) is not None:
            report.error(
                (*path, "id"),
                f"{entry.id!r} and {other!r} have the same environment variables "
                f"({provider_variable(entry.id, '*')}); rename one",
            )
        ids[entry.id] = at
        variables.setdefault(provider_variable(entry.id, ""), entry.id)
        if _is_own(entry, server.host, server.port):
            report.error((*path, "endpoint"), "is the address of this gateway itself")


def _is_own(entry: ProviderEntry, host: str, port: int) -> bool:
    if entry.endpoint is None:
        return False
    parts = urlsplit(entry.endpoint)
    theirs = parts.port or (443 if parts.scheme == "https" else 80)
    return is_own_address(parts.hostname, theirs, host, port)


def _check_files(read: Validated, report: Report) -> None:
    named: list[tuple[Path, str | None]] = []
    if (tls := read.file.server.tls) is not None:
        named += [
            (("server", "tls", "certFile"), tls.cert_file),
            (("server", "tls", "keyFile"), tls.key_file),
        ]
    for at, entry in read.providers:
        path: Path = ("providers", at, "tls")
        named += [
            ((*path, "caFile"), entry.tls.ca_file),
            ((*path, "certFile"), entry.tls.cert_file),
            ((*path, "keyFile"), entry.tls.key_file),
        ]
        if entry.tls.key_file and not entry.tls.cert_file:
            report.error((*path, "keyFile"), "needs certFile beside it")
    for path, name in named:
        if name is not None and (reason := _unreadable(name)):
            report.error(path, f"the file {name} cannot be read: {reason}")


def _unreadable(name: str) -> str | None:
    try:
        with FilePath(name).open("rb") as stream:
            stream.read(1)
    except OSError as error:
        return error.strerror or "unknown reason"
    except ValueError:
        return "not a valid name"
    return None


def _check_models(
    read: Validated, provider_ids: Collection[str], report: Report
) -> None:
    for at, model in read.models:
        path: Path = ("models", at)
        if model.provider_id is not None and model.providers:
            report.error(
                (*path, "providers"), "cannot go with providerId; write one of them"
            )
        if model.provider_id is None and not model.providers:
            message = f"model {model.id!r} has no provider; add providerId"
            report.error((*path, "providerId"), message)
        if model.provider_id is not None:
            _check_known((*path, "providerId"), model.provider_id, provider_ids, report)
        for index, entry in enumerate(model.providers):
            place = (*path, "providers", index, "id")
            _check_known(place, entry.id, provider_ids, report)
        if model.pricing is not None and model.cost_per_1k_tokens is not None:
            report.error(
                (*path, "pricing"), "cannot go with costPer1kTokens; write one of them"
            )
        if "*" in model.id[:-1]:
            report.error((*path, "id"), "may have a * at its end only")


def _check_known(
    path: Path, id_: str, provider_ids: Collection[str], report: Report
) -> None:
    if id_ not in provider_ids:
        hint = did_you_mean(id_, provider_ids)
        report.error(path, f"no provider has the id {id_!r}{hint}")


def _check_names(models: Iterable[tuple[int, ModelConfig]], report: Report) -> None:
    models = tuple(models)
    ids: dict[str, int] = {}
    for at, model in models:
        if model.id in ids:
            _say_repeated(("models", at, "id"), model.id, report)
        ids.setdefault(model.id, at)
    seen: dict[str, str] = {}
    for at, model in models:
        for index, alias in enumerate(model.aliases):
            path: Path = ("models", at, "aliases", index)
            if alias in ids:
                report.error(path, f"{alias!r} is the id of a model already")
            elif alias in seen:
                report.error(path, f"{alias!r} is an alias of {seen[alias]!r} already")
            seen.setdefault(alias, model.id)


def _check_defaults(read: Validated, report: Report) -> None:
    marked = [(at, model) for at, model in read.models if model.is_default]
    for at, model in marked[1:]:
        report.error(
            ("models", at, "isDefault"),
            f"{model.id!r} and {marked[0][1].id!r} are both the default",
        )
    named = read.file.routing.default_model
    if named is not None and marked and named not in _names(marked[0][1]):
        report.error(
            ("routing", "defaultModel"),
            f"{named!r} and, by isDefault, {marked[0][1].id!r} are both the default",
        )


def _check_cycles(
    models: Iterable[tuple[int, ModelConfig]], key: str, report: Report
) -> None:
    """Follow each model's list; a way back to itself is told once, where it starts."""
    models = tuple(models)
    ids = {name: model.id for _, model in reversed(models) for name in _names(model)}
    next_: Mapping[str, list[str]] = {
        model.id: [
            ids[name]
            for name in (
                model.fallbacks if key == "fallbacks" else model.context_fallbacks
            )
            if name in ids
        ]
        for _, model in models
    }
    told: set[str] = set()
    for at, model in models:
        way = _way_back(model.id, next_)
        if way and not told.intersection(way):
            told.update(way)
            report.error(("models", at, key), "leads in a circle: " + " → ".join(way))


def _way_back(start: str, next_: Mapping[str, list[str]]) -> list[str]:
    ways = [[start, name] for name in next_[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop(0)
        if way[-1] == start:
            return way
        if way[-1] not in seen:
            seen.add(way[-1])
            ways += [[*way, name] for name in next_[way[-1]]]
    return []


def _names(model: ModelConfig) -> tuple[str, ...]:
    return (model.id, *model.aliases)


def _say_repeated(path: Path, id_: str, report: Report) -> None:
    report.error(path, f"{id_!r} is the id of another one already")
