"""The words before a command line that make it run as an ordinary user.

For tests that root runs. The interpreter may lie where only root can go: then the
process gets a view of the files in which it is within reach.
"""

from __future__ import annotations

import shlex
import stat
import subprocess
import sys
from pathlib import Path

from tests.parts.missing import missing_part, need_program

USER = 65534


def as_ordinary_user(folder: Path) -> list[str]:
    """Answer the words; `folder` is the test's own and may be used by the user."""
    drop = [
        need_program("setpriv"), f"--reuid={USER}", f"--regid={USER}", "--clear-groups",
    ]  # fmt: skip
    prefix = Path(sys.base_prefix).resolve()
    closed = _closed_folder(prefix)
    if closed is None:
        return drop
    unshare = [need_program("unshare"), "--mount", "--propagation", "private"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        missing_part("leave to make mount namespaces")
    kept = folder / "interpreter"
    kept.mkdir()
    there, here, way = (shlex.quote(str(path)) for path in (prefix, kept, closed))
    script = (
        f"mount --bind {there} {here} && mount -t tmpfs -o mode=755 tmpfs {way} && "
        f'mkdir -p {there} && mount --bind {here} {there} && exec "$@"'
    )
    return [*unshare, "sh", "-c", script, "sh", *drop]


def _closed_folder(path: Path) -> Path | None:
    """The outermost folder on the way that others may not enter."""
    for folder in (*reversed(path.parents), path):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None
