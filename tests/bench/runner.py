"""One run: the workloads in rounds, subjects interleaved, bounded in time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.subject import Subject
from tests.bench.subjects import Lab
from tests.bench.workloads import Sample, Workload, settle, warm_up

STARTUP: Final = "startup"
WITH_DIRECT: Final = frozenset({"ttft16"})

Round = dict[str, Sample]
Results = dict[str, list[Round]]


class Runner:
    """Measures subjects beside each other; a round is every workload once.

    Within a round each workload is done to one subject right after the other, so
    that what disturbs the machine disturbs both. A round in which a subject failed
    or for which no time was left is not in the results.
    """

    def __init__(self, lab: Lab, folder: Path, limit_s: float, quiet_s: float) -> None:
        """`quiet_s`: for so long a subject is idle before the next workload."""
        self.results: Results = defaultdict(list)
        self.notes: list[str] = []
        self._lab = lab
        self._folder = folder
        self._deadline = time.monotonic() + limit_s
        self._quiet_s = quiet_s

    def run(self, workloads: Sequence[Workload], rounds: int, *, startup: bool) -> None:
        lab = self._lab
        with lab.direct() as direct, lab.nginx() as nginx, lab.ours() as ours:
            for subject in (nginx, ours):
                warm_up(subject, lab.tools, self._folder)
            for number in range(rounds):
                if startup:
                    self._start(nginx)
                for workload in workloads:
                    subjects = [nginx, ours]
                    if workload.name in WITH_DIRECT:
                        subjects.append(direct)
                    turn = number % len(subjects)
                    order = subjects[turn:] + subjects[:turn]
                    if not self._measure(workload, order, direct):
                        return

    def _start(self, nginx: Subject) -> None:
        """Time from start to first answer."""
        nginx.restart()
        with self._lab.ours_alone() as alone:
            both = {subject.name: subject.started_in_s for subject in (nginx, alone)}
        self.results[STARTUP].append(
            {name: {"start_s": value, "wrong": 0} for name, value in both.items()}
        )

    def _measure(
        self, workload: Workload, subjects: list[Subject], upstream: Subject
    ) -> bool:
        """Measure one workload; False when there is no time left for it."""
        samples: Round = {}
        for subject in subjects:
            if time.monotonic() + workload.seconds > self._deadline:
                self.notes.append(f"out of time before {workload.name}")
                return False
            sample = workload.sample(subject, self._lab.tools, self._folder)
            samples[subject.name] = sample
            print(f"  {workload.name:10} {subject.name:7} {brief(sample)}", flush=True)
            later_us = settle(subject, upstream, self._quiet_s)
            if sample.get("n"):
                sample["later_us"] = later_us / sample["n"]
        self.results[workload.name].append(samples)
        return True


def brief(sample: Sample) -> str:
    """The figures of a sample that tell most, on one line."""
    parts = [
        f"{name} {sample[name]:,.1f}"
        for name in ("cpu_us", "per_s", "chunks_s", "p50_us", "p99_us", "ttft_p50_us")
        if sample.get(name)
    ]
    if "idle_kib" in sample:
        parts.append(f"idle {sample['idle_kib'] / 1024:.1f} MiB")
        parts.append(f"{sample['stream_kib']:.1f} KiB/stream")
    if sample["wrong"]:
        parts.append(f"WRONG {sample['wrong']:.0f}")
    return ", ".join(parts)
