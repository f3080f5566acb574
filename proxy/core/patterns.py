"""Patterns of names, as allow-lists and tables of the configuration have them.

A star stands for any run of characters; all else is itself, brackets and dots of
model names included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Answer what tells whether a name matches one of the patterns."""
    parts = [_expression(pattern) for pattern in patterns]
    found = re.compile("|".join(parts) if parts else r"(?!)", re.DOTALL).fullmatch
    return lambda name: found(name) is not None


def best(table: Mapping[str, Value], name: str) -> Value | None:
    """Answer the entry of a name: its own, or else that of the longest pattern."""
    own = table.get(name)
    if own is not None:
        return own
    for pattern in sorted(table, key=len, reverse=True):
        if "*" in pattern and matcher((pattern,))(name):
            return table[pattern]
    return None


def _expression(pattern: str) -> str:
    # Runs of stars are one: they mean the same, and nested repeats would be slow.
    pieces = re.sub(r"\*+", "*", pattern).split("*")
    return "(?:" + ".*".join(map(re.escape, pieces)) + ")"
