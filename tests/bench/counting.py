"""Count the calls that code makes, for budgets that need no clock.

The number of calls on a fixed path is the same on each run and each machine, unlike a
time, and grows when somebody adds work to it. Counted are calls of Python functions
whose code lies under given folders, and calls of C functions made from such code.
A coroutine or generator counts once per start and once per resumption.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any


@dataclass(slots=True)
class Calls:
    """What was called, by name: `folder/file.py:function`, `built-in name`."""

    python: Counter[str] = field(default_factory=Counter)
    c: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.python.total() + self.c.total()

    def __str__(self) -> str:
        lines = [f"{self.python.total()} Python calls, {self.c.total()} C calls"]
        both = self.python + self.c
        lines += [
            f"{count:6}  {name}" for name, count in sorted(both.items(), key=_rank)
        ]
        return "\n".join(lines)


@contextmanager
def counting(*folders: Path) -> Iterator[Calls]:
    """Count what this thread calls in the block, in code under `folders`.

    A profiler that is already at work is set aside for the time.
    """
    calls = Calls()
    roots = tuple(f"{folder.resolve()}/" for folder in folders)
    names: dict[CodeType, str | None] = {}

    def on_event(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if code not in names:
            names[code] = _name(code, roots)
        name = names[code]
        if name is None:
            return
        if event == "call":
            calls.python[name] += 1
        elif event == "c_call":
            calls.c[f"built-in {argument.__qualname__}"] += 1

    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def _name(code: CodeType, roots: tuple[str, ...]) -> str | None:
    """What a code object is called here; None outside the folders."""
    for root in roots:
        if code.co_filename.startswith(root):
            inside = code.co_filename[len(root) :]
            return f"{Path(root).name}/{inside}:{code.co_qualname}"
    return None


def _rank(item: tuple[str, int]) -> tuple[int, str]:
    name, count = item
    return -count, name
