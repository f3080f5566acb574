"""Keys that are set and change nothing: told as warnings, as nothing is ever accepted and
silently not done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxy.config.options import Options
from proxy.config.problems import Path, Report, Source
from proxy.config.schema_policy import AuthConfig
from proxy.config.schema_providers import ProviderEntry
from proxy.config.validate import Validated

_IGNORED_OF_PROVIDERS: Final[Mapping[str, str]] = {
    "cache_salt": "of all kinds vllm alone knows salts",
}
_ANY_PROVIDER: Final = ProviderEntry(id="any", kind="demo")
_NO_EFFECT: Final = "has no effect in this version"


def warn_of_what_is_not_there(read: Validated, report: Report) -> None:
    """Say which keys were set that nothing heeds."""
    log = read.file.logging.request_log
    if log.bodies and not log.retain_days:
        report.warn(
            ("logging", "requestLog", "bodies"),
            "has no effect: retainDays is 0, so that nothing is kept",
        )
    for at, entry in read.providers:
        path: Path = ("providers", at)
        if entry.kind != "vllm":
            _warn_of_ignored(path, entry, _ANY_PROVIDER, _IGNORED_OF_PROVIDERS, report)


def warn_of_unused_flags(options: Options, auth: AuthConfig, report: Report) -> None:
    """Say which flags were given that nothing uses as things are."""
    if options.jwt_secret and not auth.enabled:
        path: Path = ("jwt",)
        report.sources[path] = Source("command line", name="--jwt-secret")
        report.warn(path, f"{_NO_EFFECT}: no key or token is asked for")


def _warn_of_ignored(
    path: Path, given: Any, usual: Any, ignored: Mapping[str, str], report: Report
) -> None:
    for place, subject in ignored.items():
        below, value = _at(given, place)
        if value != _at(usual, place)[1]:
            report.warn((*path, *below), f"{_NO_EFFECT}: {subject}")


def _at(section: Any, place: str) -> tuple[Path, Any]:
    path: list[str] = []
    for name in place.split("."):
        path.append(str(type(section).model_fields[name].alias))
        section = getattr(section, name)
    return tuple(path), section
