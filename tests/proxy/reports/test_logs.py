from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.core import clock
from proxy.reports import logs
from proxy.reports.logs import percentiles
from proxy.storage.database import Database
from proxy.storage.requests import Requests
from tests.parts.ledger_rows import row

Printed = Callable[..., str]


@pytest.fixture
def printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Printed:
    """Answer what the command prints of some requests of the last minutes."""
    monkeypatch.chdir(tmp_path)
    now = int(clock.wall() * 1e6)

    async def store() -> None:
        async with Database() as database:
            await Requests(database).insert(
                [
                    *(
                        row(f"req_{n:03}", duration_us=n * 1000, started_us=now)
                        for n in range(1, 101)
                    ),
                    row(
                        "bad",
                        status=502,
                        code="upstream_error",
                        provider="cloud",
                        model="big",
                        started_us=now,
                        duration_us=9_000_000,
                    ),
                    row("old", started_us=now - 7200 * 1_000_000),
                ]
            )

    asyncio.run(store())

    def run(*arguments: str) -> str:
        assert logs.run(arguments) == 0
        return capsys.readouterr().out

    return run


def test_times_errors_and_the_slowest_as_json(printed: Printed) -> None:
    found = json.loads(printed("--json"))
    assert (found["requests"], found["errors"]) == (101, 1)
    assert found["by_code"] == {"upstream_error": 1}
    assert found["by_status"] == {"200": 100, "502": 1}
    gpu = found["by_provider"]["gpu"]
    assert gpu["duration_ms"] == {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0}
    assert [one["id"] for one in found["slowest"]][:2] == ["bad", "req_100"]
    assert len(found["slowest"]) == 10


def test_times_errors_and_the_slowest_as_tables(printed: Printed) -> None:
    lines = [line.split() for line in printed("--last", "30m").splitlines()]
    assert lines[0][:5] == ["101", "requests", "in", "the", "last"]
    assert ["gpu", "100", "0", "50.0", "90.0", "95.0", "99.0", "2.0", "2.0"] in lines
    assert ["upstream_error", "1"] in lines


def test_filters_choose(printed: Printed) -> None:
    assert json.loads(printed("--json", "--last", "3h"))["requests"] == 102
    assert json.loads(printed("--json", "--model", "big"))["requests"] == 1
    assert printed("--model", "none") == "No request in the last 1h.\n"


def test_a_span_that_makes_no_sense_is_told(
    printed: Printed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert logs.run(["--last", "soon"]) == 2
    assert capsys.readouterr().err.startswith("--last is a time")
    assert logs.run(["--status", "odd"]) == 2
    assert capsys.readouterr().err.startswith("--status is one such as")


def test_where_no_gateway_has_been_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert logs.run([]) == 2
    told = capsys.readouterr().err
    assert f"There is no database at {tmp_path / 'data' / 'local-ai.db'}" in told
    assert "PROXY_DATA_DIR" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], None), ([5.0], 5.0), ([1.0, 2.0], 1.0), ([3.0, 1.0, 2.0], 2.0)],
)
def test_the_middle_is_a_value_that_was_there(
    values: list[float], expected: float | None
) -> None:
    assert percentiles(values)["p50"] == expected
