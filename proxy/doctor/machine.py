"""What can be told without asking anybody: versions, settings, disk, limits."""

from __future__ import annotations

import platform
import resource
import shutil
import ssl
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from proxy import __version__
from proxy.config import Config, Loaded
from proxy.doctor.finding import Finding, Grade, reason

LEAST_DISK_BYTES: Final = 1 << 30
LEAST_OPEN_FILES: Final = 1024


def examine_machine(loaded: Loaded) -> list[Finding]:
    """Examine this process's surroundings without leaving it."""
    return [
        _versions(),
        _configuration(loaded),
        _data_directory(loaded.config.data_dir),
        _open_files(),
        *_certificate(loaded.config),
        *_keys(loaded.config),
    ]


def _versions() -> Finding:
    text = (
        f"local-ai {__version__}, Python {platform.python_version()}, "
        f"aiohttp {version('aiohttp')}, {platform.system()} {platform.machine()}"
    )
    return Finding(Grade.FINE, "versions", text)


def _configuration(loaded: Loaded) -> Finding:
    text = str(loaded.file or "no file, built-in defaults")
    if not loaded.warnings:
        return Finding(Grade.FINE, "configuration", text)
    advice = "see the warnings above"
    return Finding(Grade.ODD, "configuration", f"{text}, with warnings", advice)


def _data_directory(folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    text = f"{folder}, {free / (1 << 30):.1f} GiB free"
    if not _is_writable(there):
        advice = f"let this user write to {there}, or set PROXY_DATA_DIR"
        return Finding(Grade.ODD, "data directory", f"{there} is read-only", advice)
    if free < LEAST_DISK_BYTES:
        return Finding(Grade.ODD, "data directory", text, "make room on that disk")
    return Finding(Grade.FINE, "data directory", text)


def _is_writable(folder: Path) -> bool:
    # os.access answers for the real user, not for a read-only file system's mount
    # in every container: trying tells.
    trial = folder / ".local-ai-trial"
    try:
        trial.touch()
        trial.unlink()
    except OSError:
        return False
    return True


def _open_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= LEAST_OPEN_FILES:
        return Finding(Grade.FINE, "open files", f"{soft} allowed")
    advice = "raise it (ulimit -n, LimitNOFILE): each request takes two"
    return Finding(Grade.ODD, "open files", f"only {soft} allowed", advice)


def _certificate(config: Config) -> Iterator[Finding]:
    tls = config.server.tls
    if tls is None:
        return
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        advice = "server.tls needs a PEM certificate and the key that belongs to it"
        yield Finding(Grade.WRONG, "certificate", reason(error), advice)
    else:
        yield Finding(Grade.FINE, "certificate", tls.cert_file)


def _keys(config: Config) -> Iterator[Finding]:
    held = (*config.environment_keys, *config.local_keys)
    named = ", ".join(held) if held else "none in the environment"
    yield Finding(Grade.FINE, "keys", named)
