"""Run the gateway counting its calls: `python -m tests.bench.counted FILE [flags]`.

On SIGUSR1 it writes what its own code has called so far to FILE, as JSON: total and
the listing of `counting.Calls`.
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
from pathlib import Path

from tests.bench.build import ROOT
from tests.bench.counting import Calls, counting


def main() -> None:
    file = Path(sys.argv.pop(1))
    with counting(ROOT / "proxy", ROOT / "providers") as calls:
        signal.signal(signal.SIGUSR1, lambda *_: write(calls, file))
        runpy.run_module("proxy", run_name="__main__", alter_sys=True)


def write(calls: Calls, file: Path) -> None:
    """Write FILE in one step: who sees it can read all of it."""
    unfinished = file.with_suffix(".part")
    counts = {"total": calls.total, "python": calls.python, "c": calls.c}
    unfinished.write_text(json.dumps(counts), encoding="utf-8")
    unfinished.replace(file)


if __name__ == "__main__":
    main()
