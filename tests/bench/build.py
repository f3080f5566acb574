"""What the bench needs to run: the two C programs, wrk and nginx.

The C programs are compiled into `.bench/` at the top of the repository, once per
version of their source. Missing system packages are named; as root they are
installed with apt.
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
APT_PACKAGES: Final = {"cc": ("gcc", "libc6-dev"), "wrk": ("wrk",), "nginx": ("nginx",)}
SEARCH_PATH: Final = os.pathsep.join(
    (os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin")
)
INSTALL_TIMEOUT_S: Final = 300.0
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
    make_cache()
    return Tools(
        mock=_compiled("mock_upstream", found["cc"]),
        load=_compiled("sseload", found["cc"]),
        wrk=found["wrk"],
        nginx=found["nginx"],
    )


def make_cache() -> None:
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n", encoding="ascii")


def _system_tools() -> dict[str, Path]:
    missing = [name for name in APT_PACKAGES if _which(name) is None]
    if missing:
        _install(missing)
    found = {name: _which(name) for name in APT_PACKAGES}
    return {name: path for name, path in found.items() if path is not None}


def _which(name: str) -> Path | None:
    found = shutil.which(name, path=SEARCH_PATH)
    return Path(found) if found else None


def _install(missing: list[str]) -> None:
    packages = [package for name in missing for package in APT_PACKAGES[name]]
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    advice = f"missing: {', '.join(missing)}; install with `{' '.join(command)}`"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BenchError(advice)
    print(f"installing {', '.join(packages)} …", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    still = [name for name in missing if _which(name) is None]
    if still:
        raise BenchError(f"{advice}\n{result.stderr.strip()[-500:]}")


def _compiled(name: str, compiler: Path) -> Path:
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
