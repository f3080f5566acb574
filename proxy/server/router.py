"""From method and path to a row of the route table. Exact paths cost a look-up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from proxy.core.errors import CallerFault

ANY: Final = "*"
_BASE: Final = "/v1"


class Row(Protocol):
    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Match(Generic[R]):
    row: R
    params: Mapping[str, str]


class Router(Generic[R]):
    """`{name}` in a path stands for one segment, `{name:*}` for all that follow.

    A path is matched by its most specific row: a known path with another method
    is 405, it never falls through to a wider pattern.
    """

    def __init__(self, rows: Iterable[R], reserved: tuple[str, ...] = ()) -> None:
        """Paths at or below one of `reserved` match nothing."""
        self._reserved = tuple(f"{path}/" for path in reserved)
        self._exact: dict[str, dict[str, R]] = {}
        by_pattern: dict[str, dict[str, R]] = {}
        for row in rows:
            home = by_pattern if "{" in row.path else self._exact
            home.setdefault(row.path, {})[row.method] = row
        ordered = sorted(by_pattern, key=_generality)
        self._patterns = [(_compile(path), by_pattern[path]) for path in ordered]

    def match(self, method: str, path: str) -> Match[R]:
        """Raises CallerFault `not_found` or `method_not_allowed`."""
        rows, params = self._at(path)
        if not rows:
            raise CallerFault("not_found", f"There is no such route.{self._hint(path)}")
        return Match(_choose(rows, method), params)

    def rows(self, path: str) -> Mapping[str, R]:
        """Answer what a path leads to, by method; nothing where it leads nowhere."""
        return self._at(path)[0]

    def allowed(self, path: str) -> tuple[str, ...]:
        """The methods that a path takes."""
        return _allowed(self.rows(path))

    def _hint(self, path: str) -> str:
        """Tell whose base URL lacks its end what it should be."""
        meant = _BASE + path
        if meant not in self._exact:
            return ""
        return f" {meant} is one: the base URL of clients ends in {_BASE}."

    def _at(self, path: str) -> tuple[Mapping[str, R], Mapping[str, str]]:
        rows = self._exact.get(path)
        if rows is not None:
            return rows, {}
        for pattern, rows in self._patterns:
            found = pattern.fullmatch(path)
            if found is not None and not f"{path}/".startswith(self._reserved):
                return rows, found.groupdict()
        return {}, {}


def _choose(methods: Mapping[str, R], method: str) -> R:
    row = methods.get(method) or methods.get(ANY)
    if row is None and method == "HEAD":
        row = methods.get("GET")
    if row is None:
        allowed = ", ".join(_allowed(methods))
        raise CallerFault("method_not_allowed", f"This route takes {allowed}.")
    return row


def _allowed(methods: Mapping[str, R]) -> tuple[str, ...]:
    head = ("HEAD",) if "GET" in methods and "HEAD" not in methods else ()
    return (*methods, *head)


def _generality(path: str) -> tuple[bool, int]:
    """Sort key: rows without a tail first, then the longer literal text."""
    return (":*}" in path, -len(re.sub(r"\{[^}]*\}", "", path)))


def _compile(path: str) -> re.Pattern[str]:
    pattern = re.sub(r"\{(\w+):\*\}", r"(?P<\1>.*)", path)
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern), re.DOTALL)
