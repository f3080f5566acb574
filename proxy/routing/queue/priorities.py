"""Who goes first: the configuration's `priorities`, by the name of a key."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

USUAL: Final = 1
_EVERYBODY: Final = "default"


def priority_of(priorities: Mapping[str, int], key_name: str | None) -> int:
    """Answer the priority of a key: the lower goes first, 0 is the first there is.

    Its own name beats a pattern, the longest pattern that matches the others, and
    `default` is for the rest, also for callers without a key.
    """
    if not priorities:
        return USUAL
    given = priorities.get(_EVERYBODY, USUAL)
    if key_name is not None:
        given = priorities.get(key_name, _by_pattern(priorities, key_name, given))
    return max(0, given)


def _by_pattern(priorities: Mapping[str, int], key_name: str, otherwise: int) -> int:
    matching = [
        pattern
        for pattern in priorities
        if pattern != _EVERYBODY and fnmatchcase(key_name, pattern)
    ]
    return priorities[max(matching, key=len)] if matching else otherwise
