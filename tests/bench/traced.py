"""Run the gateway under cProfile: `python -m tests.bench.traced STATS [flags]`.

The profile is written to the file STATS when the gateway ends.
"""

from __future__ import annotations

import cProfile
import runpy
import sys

stats = sys.argv.pop(1)
profiler = cProfile.Profile()
profiler.enable()
try:
    runpy.run_module("proxy", run_name="__main__", alter_sys=True)
finally:
    profiler.disable()
    profiler.dump_stats(stats)
