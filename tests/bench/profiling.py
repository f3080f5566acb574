"""Where the gateway's time goes under one workload: the 25 costliest functions.

py-spy samples the running process from outside where it is installed; otherwise the
gateway runs under cProfile, which adds much to each Python call and nothing to C.
"""

from __future__ import annotations

import os
import pstats
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from tests.bench.build import BenchError
from tests.bench.subject import Subject
from tests.bench.subjects import Lab
from tests.bench.workloads import Workload, warm_up

TOP: Final = 25
SAMPLES_PER_S: Final = 500
PY_SPY_TIMEOUT_S: Final = 60.0


def profile(lab: Lab, folder: Path, workload: Workload) -> None:
    """Run `workload` against ours and print what took the time."""
    # The environment's own programs first: it may not be activated.
    places = (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
    py_spy = shutil.which("py-spy", path=os.pathsep.join(places))
    if py_spy:
        _sampled(py_spy, lab, folder, workload)
    else:
        _traced(lab, folder, workload)


def _sampled(py_spy: str, lab: Lab, folder: Path, workload: Workload) -> None:
    stacks = folder / "stacks.txt"
    with lab.direct(), lab.ours() as ours:
        warm_up(ours, lab.tools, folder)
        command = [
            py_spy,
            "record",
            f"--pid={ours.pid}",
            f"--duration={max(1, round(workload.seconds))}",
            f"--rate={SAMPLES_PER_S}",
            "--format=raw",
            "--function",
            "--nonblocking",
            f"--output={stacks}",
        ]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as sampler:
            workload.sample(ours, lab.tools, folder)
            _, complaint = sampler.communicate(timeout=PY_SPY_TIMEOUT_S)
    if not stacks.exists():
        raise BenchError(f"py-spy sampled nothing: {complaint.strip()[-500:]}")
    print(f"{workload.name}, py-spy, {SAMPLES_PER_S} samples/s")
    print(top_of_stacks(stacks.read_text(encoding="utf-8")))


def top_of_stacks(text: str) -> str:
    """The functions most often on top of py-spy's raw stacks, `a;b;c count`."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        if not stack:
            continue  # caught between two frames
        frames = stack.split(";")
        own[frames[-1]] += int(count)
        for frame in set(frames):
            within[frame] += int(count)
    total = sum(own.values())
    lines = [f"{'own':>6} {'with':>6}  function"]
    for frame, samples in own.most_common(TOP):
        lines.append(f"{samples / total:6.1%} {within[frame] / total:6.1%}  {frame}")
    return "\n".join(lines)


def _traced(lab: Lab, folder: Path, workload: Workload) -> None:
    stats = folder / "profile.out"
    wrapped = (sys.executable, "-m", "tests.bench.traced", str(stats))
    lab = Lab(lab.tools, folder, gateway=wrapped)
    with lab.direct(), lab.ours() as ours:
        warm_up(ours, lab.tools, folder)
        workload.sample(ours, lab.tools, folder)
        _end(ours, stats)
    print(f"{workload.name}, cProfile (py-spy is not installed)")
    pstats.Stats(str(stats)).strip_dirs().sort_stats("tottime").print_stats(TOP)


def _end(ours: Subject, stats: Path) -> None:
    ours.stop()
    if not stats.exists():
        raise BenchError("the gateway ended without leaving its profile")
