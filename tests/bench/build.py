"""What the bench needs to run: the two C programs, wrk and nginx.

The C programs are compiled into `.bench/` at the top of the repository, once per
version of their source. What is missing is named with its package; `bin/bench`
installs it where it runs as root.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
CACHE: Final = ROOT / ".bench"
PACKAGES: Final = ROOT / "requirements" / "system.txt"
SEARCH_PATH: Final = os.pathsep.join(
    (os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin")
)
COMPILE_TIMEOUT_S: Final = 60.0


class BenchError(Exception):
    """The bench cannot go on; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths of the programs."""

    mock: Path
    load: Path
    wrk: Path
    nginx: Path


def prepare() -> Tools:
    """Find or make every tool; raises BenchError naming what is missing."""
    if not Path("/proc/self/schedstat").exists():
        raise BenchError("the bench reads CPU times from /proc and needs Linux")
    found = _system_tools()
    return Tools(
        mock=compiled("mock_upstream", found["cc"]),
        load=compiled("sseload", found["cc"]),
        wrk=found["wrk"],
        nginx=found["nginx"],
    )


def make_cache() -> None:
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n", encoding="ascii")


def packages() -> dict[str, list[str]]:
    """The system programs the bench needs and the Debian packages they come from."""
    found: dict[str, list[str]] = {}
    for line in PACKAGES.read_text(encoding="utf-8").splitlines():
        match line.split():
            case ["bench", program, package]:
                found.setdefault(program, []).append(package)
    return found


def _system_tools() -> dict[str, Path]:
    wanted = packages()
    found = {name: shutil.which(name, path=SEARCH_PATH) for name in wanted}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        names = " ".join(package for name in missing for package in wanted[name])
        raise BenchError(
            f"missing: {', '.join(missing)}. Debian and Ubuntu: apt-get install {names}"
        )
    return {name: Path(path) for name, path in found.items() if path is not None}


def compiled(name: str, compiler: str | Path) -> Path:
    """Compile `name`.c unless that was done; raises BenchError with what cc says."""
    make_cache()
    source = HERE / f"{name}.c"
    version = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    program = CACHE / f"{name}-{version}"
    if program.exists():
        return program
    result = subprocess.run(
        [compiler, "-O2", "-Wall", "-Wextra", "-o", program, source],
        capture_output=True,
        text=True,
        timeout=COMPILE_TIMEOUT_S,
        check=False,
    )
    if result.returncode != 0:
        raise BenchError(f"{source.name} does not compile:\n{result.stderr.strip()}")
    return program
