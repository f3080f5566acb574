"""YAML → plain values, remembering the line of each key.

Built from parser events, not by the library's constructor: so every problem has
a line, a key given twice is seen, nothing but plain data can be made, and size,
depth and alias expansion are bounded. Plain scalars follow YAML 1.2's core
schema: `no`, `12:30` and `2024-01-01` are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, Final

import yaml

from proxy.config.problems import Path, Report, Source, dotted

MAX_BYTES: Final = 4 << 20
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 100_000

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_STRING_TAGS: Final = (None, "!", "tag:yaml.org,2002:str")


class _UnusableError(Exception):
    """The rest of the file cannot be read."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line


def read_file(file: FilePath, report: Report) -> dict[str, Any]:
    """Read a file into plain values; what is wrong goes into `report`.

    Answers what could be understood, {} when that is nothing.
    """
    name = str(file)
    report.sources[()] = Source(name)
    try:
        text = _text(file)
        return _Builder(name, report).document(yaml.parse(text, yaml.SafeLoader))
    except _UnusableError as error:
        line, message = error.line, str(error)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        message = f"is not valid YAML: {error.problem or error.context}"
    except yaml.YAMLError:
        line, message = None, "is not valid YAML: it holds characters YAML forbids"
    report.sources[()] = Source(name, line)
    report.error((), message)
    return {}


def _text(file: FilePath) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _UnusableError(None, f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise _UnusableError(None, f"is larger than {MAX_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _UnusableError(line, "is not UTF-8 text") from error


class _Builder:
    """Makes values of events. `_anchors` keeps a value and how many it holds."""

    def __init__(self, name: str, report: Report) -> None:
        self._name = name
        self._report = report
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0

    def document(self, events: Iterator[Any]) -> dict[str, Any]:
        root: Any = None
        self._events = events
        documents = 0
        for event in events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            documents += 1
            if documents > 1:
                raise _UnusableError(_line(event), "holds more than one document")
            root = self._value(next(events), ())
        if root is None:
            return {}
        if not isinstance(root, dict):
            raise _UnusableError(1, "must be a mapping of keys such as `server:`")
        return root

    def _value(self, event: Any, path: Path) -> Any:
        self._take(event, 1)
        if len(path) > MAX_DEPTH:
            raise _UnusableError(_line(event), f"is nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._count
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(event, path)
        else:
            value = self._mapping(event, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._count - before)
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise _UnusableError(_line(event), f"unknown alias *{event.anchor}")
        value, size = self._anchors[event.anchor]
        self._take(event, size)
        return value

    def _sequence(self, start: Any, path: Path) -> list[Any]:
        _refuse_tag(start)
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            here = (*path, len(values))
            self._report.sources[here] = Source(self._name, _line(event))
            values.append(self._value(event, here))
        return values

    def _mapping(self, start: Any, path: Path) -> dict[str, Any]:
        _refuse_tag(start)
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            here = (*path, self._key(event, path))
            if here[-1] in values:
                self._repeated(event, here)
            else:
                self._report.sources[here] = Source(self._name, _line(event))
            values.setdefault(str(here[-1]), self._value(next(self._events), here))
        return values

    def _key(self, event: Any, path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent) or event.value == "":
            raise _UnusableError(
                _line(event), f"{dotted(path)}: a key must be plain text"
            )
        if event.value == "<<" and event.implicit[0]:
            raise _UnusableError(
                _line(event), "merge keys (<<) are not known; write it out"
            )
        return str(event.value)

    def _repeated(self, event: Any, path: Path) -> None:
        first = self._report.sources[path].line
        message = f"is given twice, first on line {first}"
        self._report.sources[path] = Source(self._name, _line(event))
        self._report.error(path, message)

    def _take(self, event: Any, count: int) -> None:
        self._count += count
        if self._count > MAX_VALUES:
            raise _UnusableError(_line(event), f"holds more than {MAX_VALUES} values")


def _scalar(event: Any) -> Any:
    text: str = event.value
    if event.tag not in _STRING_TAGS:
        _refuse_tag(event)
    if not event.implicit[0] or event.tag is not None:
        return text
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _refuse_tag(event: Any) -> None:
    if event.tag is not None:
        raise _UnusableError(_line(event), f"tags such as {event.tag} are not allowed")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
