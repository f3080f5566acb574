"""Reading a caller's JSON strictly: each problem names the field by its path.

A null reads as absent, as SDKs send it for what was not set.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from providers.wire.peek import without_surrogates
from providers.wire.translate.problems import InvalidField, InvalidJSON, MissingField


def load(body: bytes) -> Any:
    """Parse JSON; escaped surrogates without partner become U+FFFD.

    Raises ValueError.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if b"\\u" not in body:
            raise
        return orjson.loads(without_surrogates(body))


def load_object(body: bytes | dict[str, Any]) -> Node:
    """Parse a request body; raises InvalidJSON."""
    if isinstance(body, dict):
        return Node(body)
    try:
        found = load(body)
    except ValueError as error:
        raise InvalidJSON(None, f"the body is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidJSON(None, "the body must be a JSON object")
    return Node(found)


class Node:
    """An object within a request, and the path that leads to it."""

    __slots__ = ("path", "raw")

    def __init__(self, raw: dict[str, Any], path: str = "") -> None:
        self.raw = raw
        self.path = path

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        return self.raw.get(name) is not None

    def get(self, name: str) -> Any:
        return self.raw.get(name)

    def wrong(self, name: str, must: str) -> InvalidField:
        return InvalidField(self.at(name), f"{self.at(name)} {must}")

    def missing(self, name: str) -> MissingField:
        return MissingField(self.at(name), f"{self.at(name)} is required")

    def text(self, name: str) -> str | None:
        found = self.raw.get(name)
        if found is None or isinstance(found, str):
            return found
        raise self.wrong(name, "must be a string")

    def need_text(self, name: str) -> str:
        found = self.text(name)
        if found is None:
            raise self.missing(name)
        return found

    def need_name(self, name: str) -> str:
        found = self.need_text(name)
        if not found:
            raise self.wrong(name, "must not be empty")
        return found

    def flag(self, name: str) -> bool | None:
        found = self.raw.get(name)
        if found is None or isinstance(found, bool):
            return found
        raise self.wrong(name, "must be true or false")

    def integer(self, name: str, least: int | None = None) -> int | None:
        found = self.raw.get(name)
        if found is None:
            return None
        if isinstance(found, float) and found.is_integer():
            found = int(found)
        if isinstance(found, bool) or not isinstance(found, int):
            raise self.wrong(name, "must be an integer")
        if least is not None and found < least:
            raise self.wrong(name, f"must be at least {least}")
        return found

    def number(
        self, name: str, low: float | None = None, high: float | None = None
    ) -> float | None:
        found = self.raw.get(name)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise self.wrong(name, "must be a number")
        if (low is not None and found < low) or (high is not None and found > high):
            raise self.wrong(name, f"must be between {low} and {high}")
        return found

    def one_of(self, name: str, allowed: Collection[str]) -> str | None:
        found = self.text(name)
        if found is not None and found not in allowed:
            raise self.wrong(name, f"must be one of {', '.join(sorted(allowed))}")
        return found

    def mapping(self, name: str) -> dict[str, Any] | None:
        found = self.raw.get(name)
        if found is None or isinstance(found, dict):
            return found
        raise self.wrong(name, "must be an object")

    def node(self, name: str) -> Node | None:
        found = self.mapping(name)
        return None if found is None else Node(found, self.at(name))

    def need_node(self, name: str) -> Node:
        found = self.node(name)
        if found is None:
            raise self.missing(name)
        return found

    def items(self, name: str) -> list[Any]:
        found = self.raw.get(name)
        if found is None:
            return []
        if isinstance(found, list):
            return found
        raise self.wrong(name, "must be an array")

    def nodes(self, name: str) -> list[Node]:
        found = []
        for index, item in enumerate(self.items(name)):
            path = f"{self.at(name)}[{index}]"
            if not isinstance(item, dict):
                raise InvalidField(path, f"{path} must be an object")
            found.append(Node(item, path))
        return found

    def need_nodes(self, name: str) -> list[Node]:
        if not self.has(name):
            raise self.missing(name)
        found = self.nodes(name)
        if not found:
            raise self.wrong(name, "must not be empty")
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """Read a string or an array of strings."""
        found = self.raw.get(name)
        if isinstance(found, str):
            return (found,)
        items = self.items(name)
        for index, item in enumerate(items):
            if not isinstance(item, str):
                raise self.wrong(f"{name}[{index}]", "must be a string")
        return tuple(items)

    def rest(self, known: Collection[str]) -> dict[str, Any]:
        """Answer the members that are not known, nulls left out."""
        return {
            name: value
            for name, value in self.raw.items()
            if name not in known and value is not None
        }
