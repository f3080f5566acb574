"""Where each value of the configuration in force came from, for people to read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from proxy.config.load import Loaded
from proxy.config.mask import masked
from proxy.config.value import Config

DEFAULT: Final = "default"
OUTSIDE: Final = "environment or command line"

# Values that no key of the file sets, and keys that are resolved under another name.
_NOT_OF_THE_FILE: Final = frozenset(
    {"dataDir", "demo", "environmentKeys", "localKeys", "localHints", "outbound"}
)
_WRITTEN_AS: Final = {"keys": ("authSecret", "authSecrets")}


def sources_of(loaded: Loaded) -> dict[str, str]:
    """Answer each single value's path and its place: `server.port` → `c.yaml:3`."""
    shown, usual = masked(loaded.config), masked(Config())
    found: dict[str, str] = {}
    for path in _paths(shown):
        section = re.split(r"[.\[]", path, maxsplit=1)[0]
        if section not in _NOT_OF_THE_FILE:
            found[path] = _source(path, loaded.sources)
        else:
            is_usual = shown[section] == usual[section]
            found[path] = DEFAULT if is_usual else OUTSIDE
    return found


def _paths(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _paths(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for at, item in enumerate(value):
            yield from _paths(item, f"{path}[{at}]")
    else:
        yield path


def _source(path: str, sources: Mapping[str, str]) -> str:
    """An item of a list was written where the list was."""
    whole = re.sub(r"(\[\d+\])+$", "", path)
    parent, _, name = whole.rpartition(".")
    others = [f"{parent}.{one}" for one in _WRITTEN_AS.get(name, ())]
    for candidate in (path, whole, *others):
        if candidate in sources:
            return sources[candidate]
    return DEFAULT
