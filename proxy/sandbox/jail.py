"""The walls around a process: a command line of bubblewrap, or none.

A jail has a root of its own, read-only and next to empty (Python's library, shared
libraries, an own /tmp), no network, no other processes, no environment, no
capability and an ordinary user. `trial` says whether that is so. Two ways lead there:
root builds it without a user namespace and then becomes a user that nobody else is;
an ordinary user needs the kernel's leave to make user namespaces.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from msgspec import Struct

from proxy.sandbox.limits import TEMPORARY_FILES_BYTES
from proxy.sandbox.seccomp import program

_NOBODY: Final = 65534
# Users of jails built by root. Each process has its own, so that none counts in
# another's limits; below what systemd gives to users of its making.
_FIRST_USER: Final = 60_600
_USERS: Final = 500
_GATEWAY: Final = Path(__file__).resolve().parents[2]
_INSIDE: Final = Path(__file__).resolve().parent / "inside"
_HOME: Final = "/gateway"
_PACKAGES: Final = "/packages"
_LIBRARIES: Final = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64")
_START: Final = (
    "import sys; sys.path += sys.argv[3:]; from importlib import import_module; "
    "import_module('proxy.sandbox.inside.' + sys.argv[1]).main(sys.argv[2])"
)


class Command(Struct, frozen=True):
    """How to start a process: its arguments, and the filter of system calls.

    `user` is who it shall become by itself; `{filter}` in the arguments stands for
    the descriptor that the filter is read from.
    """

    arguments: tuple[str, ...]
    filter: bytes | None
    user: int | None


class Bare(Struct, frozen=True):
    """No jail: a process with limits, which is all that some machines allow."""

    def command(self, module: str, *, forks: bool, number: int) -> Command:
        paths = [str(_GATEWAY), *(str(path.parent) for path in monty_packages())]
        arguments = (*_python(), "-c", _START, module, "{settings}", *paths)
        return Command(arguments, None, None)

    @property
    def monty(self) -> str:
        return str(find_monty())


class Jail(Struct, frozen=True):
    """Bubblewrap's. `nests` says that this bubblewrap can forbid user namespaces."""

    bwrap: str
    is_root: bool
    nests: bool

    def command(self, module: str, *, forks: bool, number: int) -> Command:
        """Make the command for a module of `inside`; `number` tells processes apart."""
        filter_ = program(platform.machine(), forks=forks)
        arguments = [self.bwrap, *self._walls(), *_root()]
        if filter_ is not None:
            arguments += ["--seccomp", "{filter}"]
        arguments += [*_python(), "-c", _START, module, "{settings}", _HOME, _PACKAGES]
        user = _FIRST_USER + number % _USERS if self.is_root else None
        return Command(tuple(arguments), filter_, user)

    @property
    def monty(self) -> str:
        return f"{_PACKAGES}/monty"

    def _walls(self) -> Iterator[str]:
        yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts")
        yield from ("--unshare-cgroup-try", "--hostname", "sandbox")
        yield from ("--die-with-parent", "--new-session", "--clearenv")
        yield from ("--cap-drop", "ALL")
        if self.is_root:
            yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
            return
        yield from ("--unshare-user", "--uid", str(_NOBODY), "--gid", str(_NOBODY))
        if self.nests:
            yield "--disable-userns"


def find_jails() -> Iterator[Jail]:
    """Yield the jails that may work here, the best first."""
    bwrap = shutil.which("bwrap")
    if bwrap is None or not sys.platform.startswith("linux"):
        return
    if os.geteuid() == 0:
        yield Jail(bwrap, is_root=True, nests=False)
        return
    yield Jail(bwrap, is_root=False, nests=True)
    yield Jail(bwrap, is_root=False, nests=False)


def find_monty() -> Path | None:
    """Find monty's program, if the package is installed."""
    program_ = Path(sysconfig.get_path("scripts"), "monty")
    if find_spec("pydantic_monty") is None or not program_.is_file():
        return None
    return program_


def monty_packages() -> list[Path]:
    """Find what the monty worker imports."""
    found = (find_spec("pydantic_monty"), find_spec("typing_extensions"))
    origins = [Path(spec.origin) for spec in found if spec and spec.origin]
    return [o.parent if o.name == "__init__.py" else o for o in origins]


def _python() -> list[str]:
    # Isolated from variables, from the user's packages and from this folder's.
    return [str(_interpreter()), "-I", "-S", "-B"]


def _interpreter() -> Path:
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def _root() -> Iterator[str]:
    """Yield the arguments that make a jail's root, which is then never changed."""
    shown = dict(_shown())
    links = [path for path in _LIBRARIES if Path(path).is_symlink()]
    for folder in _ancestors([*map(Path, shown), Path("/dev/null"), Path("/tmp")]):  # noqa: S108 -- the jail's own
        yield from ("--perms", "0755", "--dir", str(folder))
    for target, source in shown.items():
        yield from ("--ro-bind", str(source), target)
    for link in links:
        yield from ("--symlink", str(Path(link).readlink()), link)
    yield from ("--dev-bind", "/dev/null", "/dev/null")
    yield from ("--size", str(TEMPORARY_FILES_BYTES), "--perms", "1777")
    yield from ("--tmpfs", "/tmp", "--chdir", "/tmp", "--remount-ro", "/")  # noqa: S108
    yield from ("--setenv", "MALLOC_ARENA_MAX", "2", "--setenv", "HOME", "/tmp")  # noqa: S108


def _shown() -> Iterator[tuple[str, Path]]:
    """Yield what a jail shows of this machine: where, and what."""
    for library in map(Path, _LIBRARIES):
        if library.is_dir() and not library.is_symlink():
            yield str(library), library
    prefix = Path(sys.base_prefix).resolve()
    for folder in (prefix / "lib", prefix / sys.platlibdir):
        if folder.is_dir() and str(folder) not in _LIBRARIES:
            yield str(folder), folder
    yield str(_interpreter()), _interpreter()
    yield f"{_HOME}/proxy/sandbox/inside", _INSIDE
    for package in monty_packages():
        yield f"{_PACKAGES}/{package.name}", package
    monty = find_monty()
    if monty is not None:
        yield f"{_PACKAGES}/monty", monty


def _ancestors(paths: list[Path]) -> list[Path]:
    """Name the folders above, the outer ones first; bubblewrap's own are closed."""
    folders = {folder for path in paths for folder in path.parents}
    return sorted(folders - {Path("/")}, key=lambda folder: len(folder.parts))
