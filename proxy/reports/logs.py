"""`python -m proxy analyze`: how requests went; times, errors, who was slow."""

from __future__ import annotations

import argparse
import heapq
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from msgspec import Struct, field

from proxy.accounting.queries import Queries
from proxy.accounting.shapes import shown_row
from proxy.reports.command import (
    FINE,
    add_filters,
    answered,
    ask,
    common,
    filters,
    read_config,
    say,
    say_json,
    table,
)
from proxy.storage.requests import RequestRow

_PERCENTILES: Final = (50, 90, 95, 99)
_SLOWEST: Final = 10
_TIMES: Final = (
    "provider", "requests", "errors", "ms p50", "p90", "p95", "p99", "first p50", "p95",
)  # fmt: skip
_FILTERS: Final = ("model", "provider", "tenant", "key", "status")
_FLAGS: Final = {"since": "--last", **{f: f"--{f}" for f in _FILTERS}}
_SLOW_FIELDS: Final = (
    "time", "id", "model", "provider", "status", "duration_ms", "first_token_ms",
)  # fmt: skip


def run(arguments: Sequence[str]) -> int:
    """Carry out the command; answers the exit code."""
    given = parser().parse_args(arguments)

    def work() -> int:
        asked = {**filters(given, _FILTERS), "since": given.last}
        report: Analysis = ask(
            read_config(given.config), lambda queries: analyze(queries, asked)
        )
        if given.json:
            say_json(report.document())
        else:
            say(report.text(given.last))
        return FINE

    return answered(work, _FLAGS)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m proxy analyze",
        description="Tell how requests went: times, errors, the slowest, by provider.",
        parents=[common()],
    )
    made.add_argument(
        "--last", default="1h", metavar="SPAN", help="such as 30m, 24h, 7d (1h)"
    )
    add_filters(made, _FILTERS)
    return made


async def analyze(queries: Queries, asked: dict[str, str]) -> Analysis:
    made = Analysis()
    rows: AsyncIterator[RequestRow] = queries.each(asked)
    async for row in rows:
        made.take(row)
    return made


class Times(Struct):
    """How long some requests took, in milliseconds; `first` until the first byte."""

    whole: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    errors: int = 0

    def take(self, row: RequestRow) -> None:
        self.whole.append(row.duration_us / 1000)
        if row.first_token_us is not None:
            self.first.append(row.first_token_us / 1000)
        self.errors += row.status >= 400

    def document(self) -> dict[str, Any]:
        return {
            "requests": len(self.whole),
            "errors": self.errors,
            "duration_ms": percentiles(self.whole),
            "first_token_ms": percentiles(self.first),
        }


class Analysis:
    """What has been learned of the requests so far."""

    def __init__(self) -> None:
        self._all = Times()
        self._by_provider: dict[str, Times] = {}
        self._codes: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._slowest: list[tuple[int, str, RequestRow]] = []

    def take(self, row: RequestRow) -> None:
        self._all.take(row)
        self._by_provider.setdefault(row.provider or "-", Times()).take(row)
        self._statuses[row.status] += 1
        if row.code is not None:
            self._codes[row.code] += 1
        entry = (row.duration_us, row.id, row)
        if len(self._slowest) < _SLOWEST:
            heapq.heappush(self._slowest, entry)
        else:
            heapq.heappushpop(self._slowest, entry)

    def document(self) -> dict[str, Any]:
        slowest = sorted(self._slowest, key=lambda entry: -entry[0])
        return {
            **self._all.document(),
            "by_status": {str(s): n for s, n in sorted(self._statuses.items())},
            "by_code": dict(self._codes.most_common()),
            "by_provider": {
                name: times.document()
                for name, times in sorted(self._by_provider.items())
            },
            "slowest": [shown_row(row) for _, _, row in slowest],
        }

    def text(self, span: str) -> str:
        found = self.document()
        if not found["requests"]:
            return f"No request in the last {span}."
        count, errors = found["requests"], found["errors"]
        times = (*found["by_provider"].items(), ("all", found))
        parts = [
            f"{count:,} requests in the last {span}, {errors:,} of them failed",
            table(_TIMES, [_line(name, one) for name, one in times]),
        ]
        if found["by_code"]:
            parts.append(table(("error", "requests"), found["by_code"].items()))
        parts.append(
            "slowest\n"
            + table(
                _SLOW_FIELDS,
                [
                    [_slow(row, name) for name in _SLOW_FIELDS]
                    for row in found["slowest"]
                ],
            )
        )
        return "\n\n".join(parts)


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:,.1f}"


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """The value that so many percent do not exceed; None of nothing."""
    ordered = sorted(values)
    count = len(ordered)
    return {
        f"p{percent}": ordered[-(-count * percent // 100) - 1] if count else None
        for percent in _PERCENTILES
    }


def _line(name: str, times: dict[str, Any]) -> list[Any]:
    whole, first = times["duration_ms"], times["first_token_ms"]
    return [
        name, times["requests"], times["errors"],
        *(_ms(whole[f"p{percent}"]) for percent in _PERCENTILES),
        _ms(first["p50"]), _ms(first["p95"]),
    ]  # fmt: skip


def _slow(row: dict[str, Any], name: str) -> Any:
    return _ms(row[name]) if name.endswith("_ms") else row[name]
