"""What a run prints and remembers: the table of targets, the rest, one history line."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.build import HERE, ROOT
from tests.bench.runner import Results, Round
from tests.bench.targets import Row, rows

HISTORY: Final = HERE / "history.jsonl"
OTHER_FIGURES: Final = (
    ("cpu_us", "CPU µs", 1),
    ("passing_cpu_us", "passing µs", 1),
    ("later_us", "later µs", 1),
    ("per_s", "requests/s", 0),
    ("chunks_s", "chunks/s", 0),
    ("p50_us", "p50 µs", 0),
    ("p99_us", "p99 µs", 0),
    ("ttft_p50_us", "first p50 µs", 0),
    ("lag_p50_us", "lag p50 µs", 0),
    ("lag_p99_us", "lag p99 µs", 0),
    ("whole_p50_us", "whole p50 µs", 0),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a figure depends on besides the code, and which code it was."""

    commit: str
    date: str
    cores: int
    python: str
    pinned: bool
    quick: bool

    @classmethod
    def gather(cls, *, pinned: bool, quick: bool) -> Facts:
        return cls(
            commit=commit(),
            date=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            cores=os.cpu_count() or 1,
            python=platform.python_version(),
            pinned=pinned,
            quick=quick,
        )


def render(results: Results, facts: Facts) -> str:
    """The table of targets and the other figures, as Markdown."""
    kind = "quick" if facts.quick else "full length"
    place = "alone on one core" if facts.pinned else "sharing all cores"
    title = (
        f"{facts.commit} · {facts.date} · {kind} · Python {facts.python} · "
        f"{facts.cores} cores, subject {place}"
    )
    parts = [title, _targets(rows(results)), _others(results), *_wrongs(results)]
    return "\n\n".join(part for part in parts if part)


def wrong_replies(results: Results) -> int:
    """How many replies of any subject were bad; the figures are void if there are."""
    return len(_wrongs(results))


def remember(results: Results, facts: Facts, path: Path = HISTORY) -> None:
    """Append one line with the figures the bounds are on: median, low, high."""
    ratios = {
        row.target.key: [
            round(value, 3)
            for value in (row.judged.median, row.judged.low, row.judged.high)
        ]
        for row in rows(results)
    }
    line = {
        "commit": facts.commit,
        "date": facts.date,
        "cores": facts.cores,
        "python": facts.python,
        "pinned": facts.pinned,
        "quick": facts.quick,
        "rounds": max(map(len, results.values()), default=0),
        "figures": ratios,
    }
    with path.open("a", encoding="utf-8") as history:
        history.write(json.dumps(line) + "\n")


def commit() -> str:
    """The short hash of the code measured, with `+` when it was changed since."""
    head = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", "proxy", "providers")
    return f"{head or 'no commit'}{'+' if changed else ''}"


def _git(*arguments: str) -> str:
    try:
        result = subprocess.run(
            ["git", "-C", ROOT, *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def _targets(measured: list[Row]) -> str:
    header = ("figure", "must", "goal", "nginx", "ours", "judged (min–max)", "reached")
    lines = [_cells(row) for row in measured]
    return table([header, *lines])


def _cells(row: Row) -> tuple[str, ...]:
    target, judged = row.target, row.judged
    unit = " ×" if target.relative else f" {target.unit}".rstrip()
    sign = "≥" if target.at_least else "≤"

    def bound(value: float | None) -> str:
        return "" if value is None else f"{sign} {value:g}{unit}"

    def figure(value: float) -> str:
        return f"{value:.2f} {target.unit}".rstrip()

    spread = f"{judged.median:.2f}{unit} ({judged.low:.2f}–{judged.high:.2f})"
    return (
        target.title,
        bound(target.must),
        bound(target.goal),
        figure(row.nginx),
        figure(row.ours),
        spread,
        row.verdict,
    )


def _others(results: Results) -> str:
    lines: list[tuple[str, ...]] = []
    for workload, rounds in results.items():
        for subject in rounds[0]:
            cells = [_median(rounds, subject, n, d) for n, _, d in OTHER_FIGURES]
            if any(cells):
                lines.append((workload, subject, *cells))
    header = ("workload", "subject", *(title for _, title, _ in OTHER_FIGURES))
    return table([header, *lines]) if lines else ""


def _median(rounds: list[Round], subject: str, name: str, digits: int) -> str:
    values = [samples[subject].get(name, 0.0) for samples in rounds]
    return f"{statistics.median(values):,.{digits}f}" if any(values) else ""


def _wrongs(results: Results) -> list[str]:
    return [
        f"WRONG: {workload} through {subject}: {total:.0f} bad replies or connections"
        for workload, rounds in results.items()
        for subject in rounds[0]
        if (total := sum(samples[subject]["wrong"] for samples in rounds))
    ]


def table(lines: list[tuple[str, ...]]) -> str:
    """A Markdown table with aligned columns; the first line is its header."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in (lines[0], rule, *lines[1:])
    )
