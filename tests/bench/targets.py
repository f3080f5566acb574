"""The targets: for each figure what must be reached and what is the goal.

A figure is computed per round from the samples of that round alone; most are ratios
to nginx, which was measured beside the gateway.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.bench.runner import STARTUP, Results, Round

OFFERED_CHUNKS_S: Final = 50_000.0

Figure = Callable[[Round, str], float]


@dataclass(frozen=True, slots=True)
class Target:
    """One row: `figure` of a subject in a round, in `unit`.

    With `relative` the bounds are on the ratio of ours to nginx, else on our figure.
    With `at_least` more is better.
    """

    key: str
    title: str
    workload: str
    figure: Figure
    unit: str
    must: float | None
    goal: float | None
    relative: bool = True
    at_least: bool = False

    def judged(self, samples: Round) -> float:
        """What the bounds are on, in one round."""
        ours = self.figure(samples, "ours")
        return ours / self.figure(samples, "nginx") if self.relative else ours

    def reached(self, value: float, bound: float | None) -> bool:
        if bound is None:
            return True
        return value >= bound if self.at_least else value <= bound


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and what it is the median of, over rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Row:
    """A measured target."""

    target: Target
    nginx: float
    ours: float
    judged: Spread

    @property
    def verdict(self) -> str:
        target, value = self.target, self.judged.median
        if not target.reached(value, target.must):
            return "NOT MET"
        if target.goal is None:
            return "met"
        if target.reached(value, target.goal):
            return "goal"
        return "must" if target.must is not None else "goal not met"


def rows(results: Results) -> list[Row]:
    """The rows of all targets whose workload was measured."""
    return [_row(t, results[t.workload]) for t in TARGETS if results.get(t.workload)]


def _row(target: Target, rounds: list[Round]) -> Row:
    def median(subject: str) -> float:
        return statistics.median(target.figure(samples, subject) for samples in rounds)

    judged = Spread.of([target.judged(samples) for samples in rounds])
    return Row(target, median("nginx"), median("ours"), judged)


def _plain(name: str, scale: float = 1.0) -> Figure:
    return lambda samples, subject: samples[subject][name] * scale


def _added_first_token_ms(samples: Round, subject: str) -> float:
    added_us = samples[subject]["ttft_p50_us"] - samples["direct"]["ttft_p50_us"]
    return added_us / 1000


def _of_passing(samples: Round, subject: str) -> float:
    return samples[subject]["cpu_us"] / samples[subject]["passing_cpu_us"]


def _pace_kept(samples: Round, subject: str) -> float:
    sample = samples[subject]
    return 0.0 if sample["wrong"] else sample["chunks_s"] / OFFERED_CHUNKS_S


TARGETS: Final = (
    Target(
        "request_cpu",
        "CPU per request, 64 connections",
        "wrk64",
        _plain("cpu_us"),
        "µs",
        must=2.5,
        goal=1.7,
    ),
    Target(
        "chunk_cpu_5k",
        "CPU per chunk, paced 5k/s",
        "paced100",
        _plain("cpu_us"),
        "µs",
        must=1.5,
        goal=1.2,
    ),
    Target(
        "chunk_cpu_25k",
        "CPU per chunk, paced 25k/s",
        "paced500",
        _plain("cpu_us"),
        "µs",
        must=1.5,
        goal=1.2,
    ),
    Target(
        "pace_50k",
        "1000 streams × 50/s, share kept",
        "paced1000",
        _pace_kept,
        "",
        must=0.98,
        goal=None,
        relative=False,
        at_least=True,
    ),
    Target(
        "chunk_cpu_50k",
        "CPU per chunk, those streams",
        "paced1000",
        _plain("cpu_us"),
        "µs",
        must=None,
        goal=1.2,
    ),
    Target(
        "translated_chunk",
        "translated chunk (Messages ⇄ chat), by one that passes",
        "translated100",
        _of_passing,
        "×",
        must=3,
        goal=2,
        relative=False,
    ),
    Target(
        "first_token",
        "added first-token p50, light load",
        "ttft16",
        _added_first_token_ms,
        "ms",
        must=0.5,
        goal=0.2,
        relative=False,
    ),
    Target(
        "p99",
        "p99, 64 connections",
        "wrk64",
        _plain("p99_us", 1e-3),
        "ms",
        must=3,
        goal=2,
    ),
    Target(
        "stream_memory",
        "memory per open stream",
        "mem1000",
        _plain("stream_kib"),
        "KiB",
        must=15,
        goal=7,
        relative=False,
    ),
    Target(
        "idle_memory",
        "memory of the idle process",
        "mem1000",
        _plain("idle_kib", 1 / 1024),
        "MiB",
        must=80,
        goal=60,
        relative=False,
    ),
    Target(
        "startup",
        "start to first answer",
        STARTUP,
        _plain("start_s"),
        "s",
        must=0.8,
        goal=0.5,
        relative=False,
    ),
    Target(
        "image",
        "10 MiB body, p50",
        "image10m",
        _plain("whole_p50_us", 1e-3),
        "ms",
        must=2,
        goal=None,
    ),
)
