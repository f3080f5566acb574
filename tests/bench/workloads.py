"""The workloads: what is asked of a subject, and what one measurement of it says.

A sample is a flat dict of numbers. `n` is the number of requests or chunks, whichever
the workload is about; `cpu_us` the subject's CPU time for one of them; `wrong` counts
bad replies and failed connections. Times end in `_us`, memory in `_kib`.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench import heads, measure
from tests.bench.build import HERE, BenchError, Tools
from tests.bench.subject import Subject

Sample = dict[str, float]

GRACE_S: Final = 15.0
SETTLE_TIMEOUT_S: Final = 30.0
IDLE_CPU_US: Final = 12_000.0
SETTLE_STEP_S: Final = 0.15
# The ledger looks twice a second whether there is time for what waits.
QUIET_S: Final = 1.4
UNITS_US: Final = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7}


@dataclass(frozen=True, slots=True)
class Request:
    """One recorded head with a body, written for a subject when it is known."""

    head: str
    body: bytes

    def write(self, subject: Subject, folder: Path) -> tuple[Path, Path]:
        """Write head and body; answers their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        host = f"127.0.0.1:{subject.port}"
        paths = folder / f"{subject.name}.head", folder / f"{subject.name}.body"
        paths[0].write_bytes(heads.head(self.head, host, self.body))
        paths[1].write_bytes(self.body)
        return paths


class Workload(ABC):
    """Something to do to a subject for a known time."""

    def __init__(self, name: str, request: Request, seconds: float) -> None:
        self.name = name
        self.request = request
        self.seconds = seconds

    @abstractmethod
    def sample(self, subject: Subject, tools: Tools, folder: Path) -> Sample: ...


class Plain(Workload):
    """Whole replies over keep-alive connections, as many as go, by wrk."""

    def __init__(
        self, name: str, request: Request, seconds: float, connections: int
    ) -> None:
        super().__init__(name, request, seconds)
        self.connections = connections

    def sample(self, subject: Subject, tools: Tools, folder: Path) -> Sample:
        head, body = self.request.write(subject, folder)
        whole = folder / f"{subject.name}.request"
        whole.write_bytes(head.read_bytes() + body.read_bytes())
        target = f"http://127.0.0.1:{subject.port}"
        command = [
            str(tools.wrk),
            "-t1",
            f"-c{self.connections}",
            f"-d{self.seconds:.0f}s",
            "--latency",
            "--timeout=5s",
            f"--script={HERE / 'post.lua'}",
            target,
            "--",
            str(whole),
        ]
        before = measure.cpu_us(subject.pids())
        sample = parse_wrk(run(command, self.seconds))
        return with_cpu(sample, measure.cpu_us(subject.pids()) - before)


@dataclass(frozen=True, slots=True)
class Shape:
    """How sseload drives its connections; `chunks` 0 means whole replies."""

    connections: int
    chunks: int
    warmup_s: float
    stagger_ms: int


class Paced(Workload):
    """Many replies at a time, each as fast as its upstream sends it, by sseload."""

    def __init__(
        self, name: str, request: Request, seconds: float, shape: Shape
    ) -> None:
        super().__init__(name, request, seconds)
        self.shape = shape

    def command(self, subject: Subject, tools: Tools, folder: Path) -> list[str]:
        shape = self.shape
        numbers = (
            subject.port,
            shape.connections,
            shape.chunks,
            self.seconds,
            shape.warmup_s,
            shape.stagger_ms,
        )
        files = self.request.write(subject, folder)
        return [str(part) for part in (tools.load, *numbers, *files)]

    def sample(self, subject: Subject, tools: Tools, folder: Path) -> Sample:
        command = self.command(subject, tools, folder)
        before = measure.cpu_us(subject.pids())
        sample = parse_sseload(run(command, self.seconds))
        return with_cpu(sample, measure.cpu_us(subject.pids()) - before)


class Translated(Paced):
    """Paced streams that are said in another dialect, beside the same that pass.

    `passing_cpu_us` is the subject's CPU time for a chunk of those, right before.
    """

    def __init__(
        self,
        name: str,
        request: Request,
        passing: Request,
        seconds: float,
        shape: Shape,
    ) -> None:
        super().__init__(name, request, seconds * 2, shape)
        self._each = [
            Paced(name, asked, seconds, shape) for asked in (passing, request)
        ]

    def sample(self, subject: Subject, tools: Tools, folder: Path) -> Sample:
        passing, said = (one.sample(subject, tools, folder) for one in self._each)
        wrong = passing["wrong"] + said["wrong"]
        return said | {"passing_cpu_us": passing["cpu_us"], "wrong": wrong}


class Memory(Paced):
    """Memory of a fresh process: idle, after a little work, with streams open.

    Fresh, because memory that earlier load has freed would hide what streams take.
    """

    def sample(self, subject: Subject, tools: Tools, folder: Path) -> Sample:
        subject.restart()
        time.sleep(self.seconds / 10)
        idle_kib = measure.pss_kib(subject.pids())
        warm_up(subject, tools, folder)
        settle(subject, subject, QUIET_S)  # its records use memory of their own
        before_kib = measure.pss_kib(subject.pids())
        command = self.command(subject, tools, folder)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
            # All streams are open by now and none has ended.
            time.sleep(self.seconds * 0.8)
            open_kib = measure.pss_kib(subject.pids())
            output, _ = load.communicate(timeout=self.seconds + GRACE_S)
        sample = parse_sseload(output)
        sample["idle_kib"] = idle_kib
        sample["stream_kib"] = (open_kib - before_kib) / self.shape.connections
        return sample


def warm_up(subject: Subject, tools: Tools, folder: Path) -> None:
    """Half a second of work, so that nothing is measured on first use."""
    shape = Shape(connections=16, chunks=0, warmup_s=0, stagger_ms=0)
    request = Request("openai", heads.chat())
    Paced("warm-up", request, 0.5, shape).sample(subject, tools, folder)


def settle(subject: Subject, upstream: Subject, quiet_s: float) -> float:
    """Wait until both have been idle for so long; a subject that stays busy is restarted.

    What a subject has put off until there is time (records for the database) is not to
    fall into the next workload. Answers the CPU time in microseconds that it took.
    """
    began_us = measure.cpu_us(subject.pids())
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    busy_at = time.monotonic()
    while time.monotonic() < deadline:
        pids = subject.pids() + upstream.pids()
        before = measure.cpu_us(pids)
        time.sleep(SETTLE_STEP_S)
        if measure.cpu_us(pids) - before >= IDLE_CPU_US:
            busy_at = time.monotonic()
        elif time.monotonic() - busy_at >= quiet_s:
            return measure.cpu_us(subject.pids()) - began_us
    print(f"  {subject.name} stays busy: restarted", flush=True)
    subject.restart()
    return 0.0


def run(command: list[str], seconds: float) -> str:
    """Run a load generator to its end and answer what it printed."""
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=seconds + GRACE_S,
        check=False,
    )
    if result.returncode != 0:
        raise BenchError(f"{command[0]} failed: {result.stderr.strip()[-500:]}")
    if result.stderr.strip():
        print(f"  {result.stderr.strip()[:300]}", flush=True)
    return result.stdout


def with_cpu(sample: Sample, cpu_us: float) -> Sample:
    units = sample["n"]
    return sample | ({"cpu_us": cpu_us / units} if units else {})


def parse_sseload(output: str) -> Sample:
    found: Sample = json.loads(output)
    found["n"] = found["chunks_all"] or found["done_all"]
    found["wrong"] = found["bad"] + found["errors"]
    return found


def parse_wrk(output: str) -> Sample:
    """Read wrk's report; raises BenchError when it has no figures."""
    requests = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    latency = dict(re.findall(r"\n\s+(50|99)%\s+(\S+)", output))
    if not requests or not rate or len(latency) < 2:
        raise BenchError(f"wrk measured nothing: {output.strip()[-300:]}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    failed = re.search(r"Socket errors: (.*)", output)
    wrong = sum(int(n) for n in re.findall(r"\d+", failed.group(1))) if failed else 0
    return {
        "n": float(requests.group(1)),
        "per_s": float(rate.group(1)),
        "p50_us": duration_us(latency["50"]),
        "p99_us": duration_us(latency["99"]),
        "wrong": float(wrong + (int(refused.group(1)) if refused else 0)),
    }


def duration_us(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if not found:
        raise BenchError(f"wrk wrote a duration that is none: {text!r}")
    return float(found.group(1)) * UNITS_US[found.group(2)]
