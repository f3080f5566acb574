"""${env:NAME}, ${env:NAME:-default} and ${file:/path} in the file's string values.

`$${` stands for a plain `${`. A value that came from here may be a secret and is
never quoted in a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, Final

from proxy.config.problems import Path, Report

MAX_SECRET_BYTES: Final = 64 << 10

_EXPRESSION: Final = re.compile(r"\$(\$?)\{([^{}]*)\}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORMS: Final = "${env:NAME}, ${env:NAME:-default} or ${file:/path}"


class _MissingError(Exception):
    """Nothing to put in its place; the text says what."""


class Expander:
    """Expands values of one file; relative files are looked for beside it."""

    def __init__(
        self, environ: Mapping[str, str], folder: FilePath, report: Report
    ) -> None:
        self._environ = environ
        self._folder = folder
        self._report = report

    def tree(self, value: Any, path: Path = ()) -> Any:
        """Copy a tree with its strings expanded; what failed is left out."""
        if isinstance(value, dict):
            pairs = {key: self.tree(item, (*path, key)) for key, item in value.items()}
            return {
                key: item
                for key, item in pairs.items()
                if (*path, key) not in self._report.errors or item is not None
            }
        if isinstance(value, list):
            return [self.tree(item, (*path, at)) for at, item in enumerate(value)]
        return self._text(value, path) if isinstance(value, str) else value

    def _text(self, text: str, path: Path) -> str | None:
        if "${" not in text:
            return text
        try:
            return _EXPRESSION.sub(lambda match: self._one(match, path), text)
        except _MissingError as error:
            self._report.error(path, str(error))
            return None

    def _one(self, match: re.Match[str], path: Path) -> str:
        escaped, inside = match.groups()
        if escaped:
            return "${" + inside + "}"
        self._report.expanded.add(path)
        form, _, rest = inside.partition(":")
        if form == "env":
            return self._variable(rest)
        if form == "file" and rest:
            return self._file(rest)
        raise _MissingError(f"unknown expansion ${{{inside}}}; known are {_FORMS}")

    def _variable(self, rest: str) -> str:
        name, dash, default = rest.partition(":-")
        if not _VARIABLE.fullmatch(name):
            raise _MissingError(f"${{env:{rest}}} names no variable; write {_FORMS}")
        value = self._environ.get(name)
        if dash:
            return value or default
        if value is None:
            raise _MissingError(f"the environment variable {name} is not set")
        return value

    def _file(self, name: str) -> str:
        try:
            with (self._folder / name).open("rb") as stream:
                data = stream.read(MAX_SECRET_BYTES + 1)
            if len(data) > MAX_SECRET_BYTES:
                raise _MissingError(f"the file {name} is larger than 64 KiB")
            return data.decode().rstrip("\r\n")
        except OSError as error:
            message = f"the file {name} cannot be read: {error.strerror}"
            raise _MissingError(message) from error
        except UnicodeDecodeError as error:
            raise _MissingError(f"the file {name} is not UTF-8 text") from error
