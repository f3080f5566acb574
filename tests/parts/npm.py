"""Packages of npm, in these very versions: installed once, outside of the repository.

They lie in `local-ai/npm` of the user's cache folder, a folder for each set of them.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.parts.missing import missing_part, need_program

SDKS: Final = ("openai@6.49.0", "@anthropic-ai/sdk@1.12.0")
AGENTS: Final = (
    "@anthropic-ai/claude-code@2.1.197",
    "@openai/codex@0.169.0",
    "opencode-ai@1.18.33",
)


def npm_folder(packages: Sequence[str], *, timeout_s: float) -> Path:
    """The folder that holds `packages` in its node_modules; skips where it cannot be."""
    need_program("node")
    npm = need_program("npm")
    digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:16]
    folder = _cache() / digest
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        new = Path(made) / "new"
        new.mkdir()
        (new / "package.json").write_text('{"private": true, "type": "module"}')
        command = [npm, "install", "--no-audit", "--no-fund", *packages]
        try:
            subprocess.run(
                command, cwd=new, stdin=subprocess.DEVNULL, capture_output=True,
                check=True, timeout=timeout_s,
            )  # fmt: skip
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            missing_part(f"npm packages {' '.join(packages)}")
        try:
            new.rename(folder)
        except OSError:
            assert folder.exists()  # another run was faster
    return folder


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "local-ai" / "npm"
