from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.core import clock
from proxy.reports import usage
from proxy.storage.database import Database
from proxy.storage.requests import Requests
from tests.parts.ledger_rows import rows

Printed = Callable[..., str]


@pytest.fixture
def printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Printed:
    monkeypatch.chdir(tmp_path)
    now = int(clock.wall() * 1e6)

    async def store() -> None:
        async with Database() as database:
            requests = Requests(database)
            await requests.insert(rows(10, started_us=now, cost_usd=0.01))
            await requests.insert(
                rows(5, "b", started_us=now, key_id="key_b", model="big", cost_usd=None)
            )

    asyncio.run(store())

    def run(*arguments: str) -> str:
        assert usage.run(arguments) == 0
        return capsys.readouterr().out

    return run


def test_sums_by_key_model_and_day(printed: Printed) -> None:
    found = json.loads(printed("--json"))
    first, second = found["usage"]
    assert (first["key"], first["model"], first["requests"]) == ("key_a", "qwen", 10)
    assert (first["prompt_tokens"], first["cost_usd"]) == (1000, 0.1)
    assert (second["key"], second["unpriced"], second["cost_usd"]) == ("key_b", 5, 0.0)
    assert found["total"]["requests"] == 15


def test_a_table_ends_with_what_it_comes_to(printed: Printed) -> None:
    lines = [line.split() for line in printed("--by", "model").splitlines()]
    assert lines[0][0] == "model"
    assert [line[:2] for line in lines[1:]] == [
        ["big", "5"],
        ["qwen", "10"],
        ["all", "15"],
    ]
    assert lines[-1][-1] == "0.100000"


def test_costs_are_told_in_the_configured_currency_too(
    printed: Printed, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("metrics: {currency: {code: EUR, perUsd: 0.5}}")
    heads, *_, last = printed("--by", "model", "--config", str(config)).splitlines()
    assert heads.endswith("cost USD  cost EUR")
    assert last.split()[-1] == "0.050000"


def test_filters_choose(printed: Printed) -> None:
    assert json.loads(printed("--json", "--key", "key_b"))["total"]["requests"] == 5
    assert printed("--model", "none") == "Nothing was used in the last 30d.\n"


def test_what_makes_no_sense_is_told_by_its_flag(
    printed: Printed, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        (["--last", "soon"], "--last is a time"),
        (["--by", "size"], "--by lists any of"),
    ):
        assert usage.run(arguments) == 2
        assert capsys.readouterr().err.startswith(said)


def test_where_no_gateway_has_been_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert usage.run([]) == 2
    assert "There is no database at" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
