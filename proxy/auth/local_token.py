"""The local token: who can read its file on this machine is the gateway's owner.

A file of mode 0600 in the data directory, made once and kept over restarts, so that
the tools of this machine find it. Its counterpart is bin/test-routing.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proxy.auth.credential import credential
from proxy.core.errors import CallerFault
from proxy.core.types import Headers

NAME: Final = "local-token"

_LONGEST: Final = 256
_shape = re.compile(r"[A-Za-z0-9_-]{32,128}").fullmatch


@dataclass(frozen=True, slots=True)
class LocalToken:
    """`path` may be told to anybody, `value` to nobody."""

    path: Path
    value: str = field(repr=False)

    def check(self, headers: Headers) -> None:
        """Raise CallerFault `missing_authorization` or `invalid_token`."""
        given = credential(headers)
        if given is None:
            raise CallerFault(
                "missing_authorization",
                f"Send the local token, which is in {self.path} on the gateway's "
                "machine, as `Authorization: Bearer`.",
            )
        if not hmac.compare_digest(given.encode(), self.value.encode()):
            raise CallerFault(
                "invalid_token", f"This is not the local token. It is in {self.path}."
            )


def open_token(data_dir: Path) -> LocalToken:
    """Answer the token of a data directory, made where there is none that is safe.

    Raises OSError when none can be kept there.
    """
    return LocalToken(data_dir.resolve() / NAME, kept_secret(data_dir, NAME))


def kept_secret(data_dir: Path, name: str) -> str:
    """Answer what a file of the data directory keeps from all others, made at random
    where there is none that is safe. Raises OSError when none can be kept there.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data_dir.resolve() / name
    with _alone_in(path.parent):
        if read_token(path) is None:
            _make(path)
        value = read_token(path)
    if value is None:
        raise PermissionError(f"{path} cannot be kept from other users")
    return value


def read_token(path: Path) -> str | None:
    """Read a token; None unless it is a file of ours alone that holds one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        if not is_ours or found.st_mode & 0o077:
            return None
        text = file.read(_LONGEST).decode("ascii", "replace").strip()
    return text if _shape(text) else None


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Of two gateways that start at once, the second finds what the first has made."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # A few network file systems have no locks; two that start at once are rarer.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(path: Path) -> None:
    """Write it aside, then give it its name: nobody reads half a token, and whatever
    had the name is gone.
    """
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(aside, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(f"{secrets.token_urlsafe(32)}\n".encode())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
