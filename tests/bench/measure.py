"""CPU time and memory of a process and its descendants, read from /proc."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        # A process may end between listing and reading.
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                children[_parent(entry)].append(int(entry.name))
    found = [pid]
    for member in found:
        found.extend(children[member])
    return found


def _parent(entry: Path) -> int:
    # The command name, in parentheses, may itself hold spaces and parentheses.
    stat = (entry / "stat").read_text(errors="replace")
    return int(stat.rpartition(")")[2].split()[1])


def cpu_us(pids: list[int]) -> float:
    """CPU time in microseconds that all threads of these processes have had.

    From schedstat, which counts nanoseconds, not clock ticks.
    """
    total_ns = 0
    for pid in pids:
        for thread in (PROC / str(pid) / "task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total_ns += int(thread.read_text().split()[0])
    return total_ns / 1000


def pss_kib(pids: list[int]) -> float:
    """Memory in KiB, pages shared with other processes counted by their share."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += _pss(PROC / str(pid) / "smaps_rollup")
    return float(total)


def _pss(rollup: Path) -> int:
    for line in rollup.read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
