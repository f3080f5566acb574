from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.upkeep import run_migrate, run_prices

ENTRY = {
    "litellm_provider": "openai",
    "mode": "chat",
    "input_cost_per_token": 1e-6,
    "output_cost_per_token": 2e-6,
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_database_goes_up_and_down(capsys: pytest.CaptureFixture[str]) -> None:
    def told(verb: str) -> str:
        assert run_migrate([verb]) == 0
        return capsys.readouterr().out.partition(": ")[2].strip()

    assert told("status") == "version none, pending: 0001, 0002"
    assert told("up") == "version 0002 (was empty), up to date"
    assert told("status") == "version 0002, up to date"
    assert told("down") == "version 0001 (was 0002), pending: 0002"


def test_prices_are_taken_over_from_a_map(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "map.json"
    file.write_text(json.dumps({"gpt-x": ENTRY}))
    assert run_prices(["import", str(file)]) == 0
    assert "1 prices are in" in capsys.readouterr().out
    file.write_text("{}")
    assert run_prices(["import", str(file)]) == 1
    assert "no price map" in capsys.readouterr().err
    assert (tmp_path / "data" / "prices.json").exists()


def test_what_cannot_be_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_migrate(["status", "--config", "nowhere.yaml"]) == 2
    assert run_prices(["import", "nowhere.json"]) == 1
    assert "nowhere.json" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_migrate(["sideways"])
