"""What a reload came to, and which keys it leaves as they are.

Knows values only: `runtime` reads, builds and swaps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from msgspec import Struct

from proxy.config.base import camel
from proxy.config.load import Loaded
from proxy.config.problems import Problem
from proxy.config.value import Config

_OF_SERVER: Final = ("host", "port", "workers", "tls")
_SECTIONS: Final = ("auth", "database", "state", "execute", "data_dir")


class Reload(Struct, frozen=True):
    """One reload: when (seconds since the epoch), why, and what is wrong if it failed.

    `needs_restart` are the changed keys that were left as they are. `warnings` are
    those the configuration before it did not have.
    """

    at: float
    trigger: str
    problems: tuple[Problem, ...] = ()
    needs_restart: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


def held_back(old: Config, new: Config) -> tuple[Config, tuple[str, ...]]:
    """Answer `new`, but with `old`'s values where only a restart can change them.

    Second are the keys for which that makes a difference.
    """
    kept = {name: getattr(old.server, name) for name in _OF_SERVER}
    sections = {name: getattr(old, name) for name in _SECTIONS}
    differs = [
        f"server.{camel(name)}" for name in _OF_SERVER
        if getattr(new.server, name) != kept[name]
    ] + [camel(name) for name in _SECTIONS if getattr(new, name) != sections[name]]  # fmt: skip
    server = new.server.model_copy(update=kept)
    return replace(new, server=server, **sections), tuple(differs)


def emptied(old: Loaded, new: Loaded) -> bool:
    """Tell whether the file held something and now holds nothing.

    Who writes a file empties it first, and a reload may come between.
    """
    return _holds_something(old) and new.file is not None and not _holds_something(new)


def _holds_something(loaded: Loaded) -> bool:
    file = str(loaded.file)
    return any(place.startswith(f"{file}:") for place in loaded.sources.values())
