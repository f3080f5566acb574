"""Bring .venv in step with one lock: prepare.py run|test|dev.

Standard library only, run by whatever Python is found. Quiet and quick when there
is nothing to do. A file lock, which the kernel frees with its holder, lets several
commands start at once; a stamp per lock, in .venv, tells what is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"


def main() -> None:
    name = sys.argv[1]
    lock = ROOT / "requirements" / f"{name}.txt"
    if is_current(name, lock):
        return
    with only_one():
        if is_current(name, lock):
            return
        say(f"Installing what requirements/{name}.txt lists into .venv ...")
        if not is_ours():
            make_venv()
        install(name, lock)


def is_current(name: str, lock: Path) -> bool:
    return PYTHON.exists() and read(stamp_file(name)) == stamp(lock)


def stamp(lock: Path) -> str:
    """Say what an installation depends on: the lock, the package's own metadata."""
    digest = hashlib.sha256()
    for path in (lock, ROOT / "setup.cfg", ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return f"{digest.hexdigest()} {ROOT}"


def stamp_file(name: str) -> Path:
    return VENV / f"installed-{name}"


def is_ours() -> bool:
    """Tell whether .venv was made whole, here; one that was moved points elsewhere."""
    return PYTHON.exists() and read(VENV / "made-in") == str(ROOT)


def make_venv() -> None:
    python = getattr(sys, "_base_executable", sys.executable)
    shutil.rmtree(VENV, ignore_errors=True)
    for command in ways_to_make(python):
        if run(command).returncode == 0:
            (VENV / "made-in").write_text(str(ROOT))
            return
        shutil.rmtree(VENV, ignore_errors=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    fail(
        f"{python} cannot make a virtual environment: it lacks venv or ensurepip.\n"
        f"Debian and Ubuntu: apt install python{version}-venv; "
        "Fedora and openSUSE: install python3-pip;\n"
        "or name another Python: PYTHON=/path/to/python3 and the same command again."
    )


def ways_to_make(python: str) -> Iterator[list[str]]:
    """Yield commands that may make it, the best first; each is tried in turn."""
    if has("ensurepip"):
        yield [python, "-m", "venv", str(VENV)]
    if importable(python, "virtualenv"):
        yield [python, "-m", "virtualenv", "--quiet", str(VENV)]
    if has("venv") and importable(python, "pip"):
        yield [python, "-m", "venv", "--without-pip", str(VENV)]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        say(f"Installing the system package {package} ...")
        run(["apt-get", "update", "-qq"])
        run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", package])
        yield [python, "-m", "venv", str(VENV)]


def install(name: str, lock: Path) -> None:
    """Install the lock, every file checked against its hash, then the package itself."""
    pip(["--require-hashes", "--requirement", str(lock)])
    pip(["--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    stamp_file(name).write_text(stamp(lock))


def pip(arguments: list[str]) -> None:
    if (VENV / "bin" / "pip").exists():
        command = [str(PYTHON), "-m", "pip"]
    else:
        python = getattr(sys, "_base_executable", sys.executable)
        command = [python, "-m", "pip", "--python", str(PYTHON)]
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    done = run([*command, "install", *options, *arguments])
    if done.returncode != 0:
        fail(f"{done.stdout.rstrip()}\nThe installation failed; see above.")


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run it quietly, away from settings of other environments."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_USER"}
    }
    environment["DEBIAN_FRONTEND"] = "noninteractive"
    return subprocess.run(
        command,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def importable(python: str, module: str) -> bool:
    return run([python, "-c", f"import {module}"]).returncode == 0


@contextmanager
def only_one() -> Iterator[None]:
    with (ROOT / ".venv.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fail(text: str) -> None:
    say(text)
    sys.exit(1)


if __name__ == "__main__":
    main()
