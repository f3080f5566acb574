"""Which workloads a run consists of, and how long each takes."""

from __future__ import annotations

from typing import Final

from tests.bench import heads
from tests.bench.heads import PAUSE_MS
from tests.bench.workloads import (
    Memory,
    Paced,
    Plain,
    Request,
    Shape,
    Translated,
    Workload,
)

# An answer of some length: what a stream's start and end cost is spread over these. Only
# full runs go on until all first streams have ended, so only they tell of wrong ones.
CHUNKS: Final = 200


def workloads(*, quick: bool) -> dict[str, Workload]:
    """All workloads by name, in the order they are run; `quick` shortens them."""
    made = [
        *_plain(quick=quick),
        *_streams(quick=quick),
        *_large(quick=quick),
        _translated(quick=quick),
    ]
    return {workload.name: workload for workload in made}


def _plain(*, quick: bool) -> list[Workload]:
    request = Request("openai", heads.chat())
    return [
        Plain("wrk1", request, 1, connections=1),
        Plain("wrk16", request, 1 if quick else 2, connections=16),
        Plain("wrk64", request, 2 if quick else 3, connections=64),
    ]


def _streams(*, quick: bool) -> list[Workload]:
    def paced(
        name: str, seconds: float, warmup_s: float, connections: int, stagger_ms: int
    ) -> Workload:
        shape = Shape(connections, CHUNKS, warmup_s, stagger_ms)
        request = Request("openai-async", heads.stream(CHUNKS, PAUSE_MS))
        return Paced(name, request, seconds, shape)

    burst = Request("openai-async", heads.stream(200, 0))
    short = Request("openai", heads.stream(10, 5))
    return [
        Paced("burst64", burst, 1 if quick else 2, Shape(64, 200, 0.3, 0)),
        paced("paced100", 1.5 if quick else 4.5, 0.5, 100, 200),
        paced("paced500", 2.5 if quick else 5.5, 1.2, 500, 1000),
        paced("paced1000", 3.5 if quick else 6, 2, 1000, 1500),
        Paced("ttft16", short, 1 if quick else 1.5, Shape(16, 10, 0.2, 50)),
    ]


def _translated(*, quick: bool) -> Workload:
    asked = heads.spoken(100, PAUSE_MS, translated=True)
    passing = heads.spoken(100, PAUSE_MS, translated=False)
    return Translated(
        "translated100",
        Request("anthropic-async", asked),
        Request("openai-async", passing),
        1.2 if quick else 2.2,
        Shape(100, 100, 0.5, 100),
    )


def _large(*, quick: bool) -> list[Workload]:
    picture = Request("openai", heads.image())
    slow = Request("openai-async", heads.stream(30, 500))
    return [
        Paced("image10m", picture, 1 if quick else 1.5, Shape(1, 0, 0.2, 0)),
        Memory("mem1000", slow, 3, Shape(1000, 30, 1, 1200)),
    ]
