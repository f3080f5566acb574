"""Defaults → file → environment → command line → one Config, or all that is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct, field

from proxy.config import env
from proxy.config.assemble import Assembly
from proxy.config.expand import Expander
from proxy.config.later import warn_of_unused_flags, warn_of_what_is_not_there
from proxy.config.options import Options
from proxy.config.problems import Path, Problem, Report, Source, dotted
from proxy.config.reading import read_file
from proxy.config.validate import validate
from proxy.config.value import Config

USUAL_PLACES: Final = (FilePath("config.yaml"), FilePath("/etc/local-ai/config.yaml"))

_NO_OPTIONS: Final = Options()
_FLAG_PATHS: Final[Mapping[str, Path]] = {
    "host": ("server", "host"),
    "port": ("server", "port"),
    "workers": ("server", "workers"),
    "jwt_secret": ("auth", "jwt", "secret"),
    "enable_auth": ("auth", "enabled"),
    "log_format": ("logging", "format"),
}


class Loaded(Struct, frozen=True):
    """A usable configuration, what is odd about it, and where values came from.

    `sources` maps a key (`server.port`) to its place; keys not in it have their
    default. `file` is None when there was none.
    """

    config: Config
    warnings: tuple[Problem, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    file: FilePath | None = None


def load(
    argv_options: Options = _NO_OPTIONS,
    environ: Mapping[str, str] | None = None,
    places: Sequence[FilePath] = USUAL_PLACES,
) -> Loaded:
    """Read and check everything; raises ConfigError with every problem found.

    `environ` is the process's own when None; `places` are where a file is looked
    for that neither --config nor PROXY_CONFIG names.
    """
    environ = env.snapshot() if environ is None else environ
    report = Report()
    file = _find_file(argv_options, environ, places)
    tree: dict[str, Any] = {}
    if file is not None:
        expander = Expander(environ, file.parent, report)
        tree = expander.tree(read_file(file, report))
    env.overlay(tree, environ, report)
    _overlay_flags(tree, argv_options, report)
    read = validate(tree, report)
    config = Assembly(argv_options, environ, report).config(tree, read)
    warn_of_what_is_not_there(read, report)
    warn_of_unused_flags(argv_options, config.auth, report)
    report.raise_errors()
    sources = {dotted(path): str(at) for path, at in report.sources.items() if path}
    return Loaded(config, tuple(report.warnings), MappingProxyType(sources), file)


def _find_file(
    options: Options, environ: Mapping[str, str], places: Sequence[FilePath]
) -> FilePath | None:
    named = options.config or env.lookup(environ, "PROXY_CONFIG")
    if named is not None:
        return FilePath(named).expanduser()
    return next((place for place in places if place.exists()), None)


def _overlay_flags(tree: dict[str, Any], options: Options, report: Report) -> None:
    for name, path in _FLAG_PATHS.items():
        value = getattr(options, name)
        if value is not None and value is not False:
            env.put(tree, path, value, _flag(name), report)
    if options.debug:
        env.put(tree, ("logging", "level"), "debug", _flag("debug"), report)
    if options.no_discover:
        place = ("discovery", "enabled")
        env.put(tree, place, False, _flag("no_discover"), report)


def _flag(name: str) -> Source:
    return Source("command line", name="--" + name.replace("_", "-"))
