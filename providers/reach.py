"""Who may use which path of a provider by pass-through.

A rule is a method and a path: `POST /api/chat`, or with a star for one or more
further segments: `GET /v1/models/*`. What no rule names is the owner's, and so is
every path that two servers could read in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from providers.base import Reach

# Plain segments, no empty one, none that starts the way `.` and `..` do. A percent
# sign that survived decoding, a semicolon, a backslash: all of them are not plain.
_PLAIN: Final = re.compile(r"/|(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._:@+~,=-]+)+")


class Paths:
    """A provider's path table; `owner` wins over `metadata`, that over `inference`."""

    __slots__ = ("_exact", "_open")

    def __init__(
        self,
        inference: Iterable[str] = (),
        metadata: Iterable[str] = (),
        owner: Iterable[str] = (),
    ) -> None:
        rules = [(rule, Reach.OWNER) for rule in owner]
        rules += [(rule, Reach.METADATA) for rule in metadata]
        rules += [(rule, Reach.INFERENCE) for rule in inference]
        self._exact: dict[str, Reach] = {}
        self._open: list[tuple[str, Reach]] = []
        for rule, reach in rules:
            if rule.endswith("/*"):
                self._open.append((rule[:-1], reach))
            else:
                self._exact.setdefault(rule, reach)

    def classify(self, method: str, path: str) -> Reach:
        """Say who may ask `method` of `path`, decoded once and without its query."""
        return self._named(method, path) or Reach.OWNER

    def keeps(self, method: str, path: str) -> bool:
        """Tell whether a rule says that a path is the owner's, or it might be read as
        one that is. Unlike `classify`, what no rule names is not.
        """
        return self._named(method, path) is Reach.OWNER

    def _named(self, method: str, path: str) -> Reach | None:
        if not _PLAIN.fullmatch(path):
            return Reach.OWNER
        asked = f"{'GET' if method == 'HEAD' else method} {path}"
        exact = self._exact.get(asked)
        if exact is not None:
            return exact
        for start, reach in self._open:
            if asked.startswith(start):
                return reach
        return None
