"""What is wrong with a configuration, and where.

`Report` gathers everything while the configuration is read, so that all of it is
said at once. It also remembers where each value came from; it knows no key.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

Path = tuple[str | int, ...]


class Problem(Struct, frozen=True):
    """One thing that is wrong or odd.

    `file` is the file's name, "environment" or "command line"; `path` the key
    (`providers[0].kind`), the variable or the flag.
    """

    file: str | None
    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part)
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds every reason found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Source(Struct, frozen=True):
    """Where a value came from: `name` is the variable or flag, None for a file."""

    place: str
    line: int | None = None
    name: str | None = None

    def __str__(self) -> str:
        if self.name is not None:
            return f"{self.place} {self.name}"
        return self.place if self.line is None else f"{self.place}:{self.line}"


class Report(Struct):
    """Errors, warnings and sources of one reading. `expanded` are the paths whose
    text came from ${…}: possibly secrets, so their values are never quoted.
    """

    sources: dict[Path, Source] = field(default_factory=dict)
    expanded: set[Path] = field(default_factory=set)
    errors: dict[Path, Problem] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)

    def error(self, path: Path, message: str) -> None:
        """Note an error; the first one about a path is kept, others follow from it."""
        self.errors.setdefault(path, self._problem(path, message))

    def warn(self, path: Path, message: str) -> None:
        problem = self._problem(path, message)
        if problem not in self.warnings:
            self.warnings.append(problem)

    def source_of(self, path: Path) -> Source | None:
        """Where the value at `path`, or else what contains it, was written."""
        for length in range(len(path), -1, -1):
            if (source := self.sources.get(path[:length])) is not None:
                return source
        return None

    def raise_errors(self) -> None:
        """Raise ConfigError, in the order of the file, if there was any error."""
        if self.errors:
            raise ConfigError(sorted(self.errors.values(), key=_position))

    def _problem(self, path: Path, message: str) -> Problem:
        source = self.source_of(path)
        if source is None:
            return Problem(None, None, dotted(path), message)
        return Problem(source.place, source.line, source.name or dotted(path), message)


def dotted(path: Path) -> str:
    """Write a path as people do: `providers[0].timeouts.firstByte`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, whatever its case and underscores."""
    plain: Mapping[str, str] = {_plain(name): name for name in known}
    near = difflib.get_close_matches(_plain(word), list(plain), n=1, cutoff=0.6)
    return plain[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean …?)`, or nothing when no known word is near."""
    near = nearest(word, known)
    return "" if near is None else f" (did you mean {near!r}?)"


def _plain(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _position(problem: Problem) -> tuple[str, int]:
    return problem.file or "", problem.line or 0
