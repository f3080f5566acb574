"""Importing a module opens nothing, reads nothing and starts nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.source import ROOT, assert_none, imports, modules

# Run in a process of its own: libraries first, as they may do what they like; then,
# with the hook armed, each of our modules.
WATCHED_IMPORT = """
import importlib, os, sys, threading
libraries, ours = sys.argv[1].split(","), sys.argv[2].split(",")
for name in libraries:
    try:
        importlib.import_module(name)
    except ImportError:
        pass  # `from module import name` also yields module.name
# The first model that is made lets pydantic look for its plugins.
importlib.import_module("pydantic").create_model("First")
current, seen = "", []
QUIET = ("import", "exec", "compile", "marshal.", "object.__", "sys._getframe", "os.listdir",
         "os.scandir", "code.__new__", "builtins.id", "function.__new__", "cpython.",
         "gc.", "ctypes.", "sys.set", "sys.addaudithook", "pickle.", "array.", "mmap.")
def hook(event, arguments):
    if not current or event.startswith(QUIET):
        return
    if event == "open":
        path, mode = str(arguments[0]), arguments[1]
        if path.endswith((".py", ".pyc", ".so")) and mode in (None, "r", "rb"):
            return
    seen.append(f"{current}: {event} {arguments[:2]!r}")
before = dict(os.environ)
sys.addaudithook(hook)
for name in ours:
    current = name
    importlib.import_module(name)
current = ""
if threading.active_count() > 1:
    seen.append(f"threads: {threading.enumerate()}")
if dict(os.environ) != before:
    seen.append("the environment was changed")
print("\\n".join(seen))
"""
# What answering --version must not load: server, database and provider modules, and
# the libraries that make a start slow.
NOT_FOR_VERSION = (
    "aiohttp", "aiosqlite", "asyncpg", "msgspec", "prometheus_client", "providers",
    "proxy.app", "proxy.config", "proxy.server", "proxy.storage", "pydantic", "rich",
    "sqlalchemy", "sqlite3", "uvloop", "yaml",
)  # fmt: skip


def test_importing_does_nothing_else() -> None:
    libraries = {
        name
        for module in modules()
        for name, _ in imports(module.tree)
        if not name.startswith(("proxy", "providers"))
    }
    ours = [m.name for m in modules() if not m.name.endswith("__main__")]
    done = python("-c", WATCHED_IMPORT, ",".join(sorted(libraries)), ",".join(ours))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["", ""]


def test_the_version_is_answered_without_loading_the_gateway() -> None:
    done = python("-X", "importtime", "-m", "proxy", "--version")
    assert done.returncode == 0, done.stderr
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert_none(
        [
            name
            for name in sorted(loaded)
            if any(
                name == banned or name.startswith(f"{banned}.")
                for banned in NOT_FOR_VERSION
            )
        ]
    )
    assert done.stdout.split()[-1][0].isdigit()


@pytest.mark.parametrize(
    "snippet", ["open('setup.cfg')", "import socket; socket.socket()"]
)
def test_the_watch_sees_what_it_must(snippet: str) -> None:
    probe = WATCHED_IMPORT.replace(
        "importlib.import_module(name)", f"exec({snippet!r})"
    )
    done = python("-c", probe, "json", "a.module")
    assert "a.module: " in done.stdout, done.stderr


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
