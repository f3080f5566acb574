"""A request target becomes a path, decoded once, or is refused (http-api §1)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from proxy.core.errors import CallerFault

_PLAIN: Final = re.compile(r"/[A-Za-z0-9_\-./:~@]*")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%(?:2[Ff]|5[Cc])")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ABSOLUTE: Final = re.compile(r"https?://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)


class Target(Struct, frozen=True):
    """`raw` is the path as sent, `path` decoded once, `query` as sent without `?`.

    What is as sent is latin-1 text: one character for each byte. `authority` is the
    host that an absolute-form target names.
    """

    raw: str
    path: str
    query: str
    authority: str | None = None

    @property
    def sent(self) -> str:
        """Path and query as sent."""
        return f"{self.raw}?{self.query}" if self.query else self.raw

    def raw_after(self, segments: int) -> str:
        """Path and query as sent behind the first segments; begins with a slash."""
        rest = self.raw.split("/", segments + 1)[segments + 1 :]
        path = "/" + "".join(rest)
        return f"{path}?{self.query}" if self.query else path


def read_target(target: str) -> Target:
    """Read an origin-form or absolute-form target, as aiohttp decoded it.

    Raises `invalid_path`.
    """
    if not target.isascii():
        target = target.encode("utf-8", "surrogateescape").decode("latin-1")
    authority = None
    if not target.startswith("/"):
        authority, target = _split(target)
    raw, _, query = target.partition("?")
    if _CONTROL.search(target) or "#" in target:
        raise _invalid("it holds a character that no path may")
    path = raw if _PLAIN.fullmatch(raw) else _decode(raw)
    if "/." in path and any(part in (".", "..") for part in path.split("/")):
        raise _invalid("it holds dot segments")
    return Target(raw, path, query, authority)


def _decode(raw: str) -> str:
    if _BAD_ESCAPE.search(raw):
        raise _invalid(
            "it holds an encoded slash, or a percent sign that encodes nothing"
        )
    try:
        path = unquote_to_bytes(raw.encode("latin-1")).decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid("it is not UTF-8") from None
    if "\\" in path or _CONTROL.search(path):
        raise _invalid("it holds a backslash or a control character")
    return path


def _split(target: str) -> tuple[str, str]:
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise _invalid("it does not begin with a slash")
    authority, rest = found.groups()
    return authority, rest if rest.startswith("/") else f"/{rest}"


def _invalid(why: str) -> CallerFault:
    return CallerFault("invalid_path", f"The path cannot be used: {why}.")
