"""`python -m proxy keys`, on a database in a file."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from proxy import keys
from proxy.auth.key_fields import KeyFields
from proxy.cli import run

Shown = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROXY_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def told(capsys: Shown, *arguments: str) -> Any:
    assert run(["keys", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_key_is_made_listed_rotated_and_revoked(capsys: Shown) -> None:
    made = told(
        capsys, "create", "app", "--tenant", "team-a", "--scope", "execute",
        "--scope", "inference", "--model", "tin*", "--priority", "3", "--days", "2",
    )  # fmt: skip
    secret = made.pop("secret")
    assert secret.startswith("lai_")
    assert (made["name"], made["tenant"], made["priority"]) == ("app", "team-a", 3)
    assert (made["scopes"], made["models"]) == (["execute", "inference"], ["tin*"])
    assert seconds(made["expires_at"]) - seconds(made["created_at"]) == pytest.approx(
        2 * 86_400, abs=1
    )
    assert told(capsys, "list") == [made]
    rotated = told(capsys, "rotate", made["id"], "--grace-hours", "1")
    assert rotated["secret"] != secret
    assert rotated["former_until"] > rotated["created_at"]
    assert told(capsys, "revoke", made["id"])["revoked_at"]
    [row] = told(capsys, "list")
    assert row["revoked_at"]
    assert run(["keys", "rotate", made["id"]]) == 1
    assert "revoked" in capsys.readouterr().err


def test_a_key_may_have_limits_a_budget_and_words_of_its_owner(capsys: Shown) -> None:
    made = told(
        capsys, "create", "app", "--requests", "60/minute", "--tokens", "9/second",
        "--concurrent", "2", "--daily-usd", "0.5", "--monthly-usd", "5",
        "--metadata", '{"team": "a"}',
    )  # fmt: skip
    limits = {"requests": "60/minute", "tokens": "9/second", "concurrent": 2}
    assert made["limits"] == limits
    assert made["budget"] == {"daily_usd": 0.5, "monthly_usd": 5.0}
    assert made["metadata"] == {"team": "a"}
    assert run(["keys", "revoke", made["id"]]) == 0
    shown = capsys.readouterr().out
    assert "requests=60/minute tokens=9/second concurrent=2" in shown


def test_no_hash_and_no_secret_is_listed(capsys: Shown) -> None:
    secret = told(capsys, "create", "app")["secret"]
    assert run(["keys", "list"]) == 0
    shown = capsys.readouterr().out
    assert secret not in shown
    assert secret[:8] in shown
    assert "good" in shown
    assert "hash" not in json.dumps(told(capsys, "list"))


def test_people_are_shown_the_secret_once(capsys: Shown) -> None:
    assert run(["keys", "create", "app"]) == 0
    lines = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()
    )
    assert lines["secret"].startswith(lines["prefix"])
    assert (lines["scopes"], lines["expires_at"]) == ("inference", "-")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["create", " "], 2, "NAME should be"),
        (["create", "a", "--tenant", ""], 2, "--tenant should be"),
        (["create", "a", "--requests", "many"], 2, "--requests should read like"),
        (["create", "a", "--tokens", "0/day"], 2, "--tokens should read like"),
        (["create", "a", "--concurrent", "0"], 2, "--concurrent should be"),
        (["create", "a", "--daily-usd", "-1"], 2, "--daily-usd should be"),
        (["create", "a", "--monthly-usd", "nan"], 2, "--monthly-usd should be"),
        (["create", "a", "--metadata", "[]"], 2, "--metadata must be an object"),
        (["create", "a", "--priority", "9999"], 2, "--priority should be"),
        (["create", "a", "--model", ""], 2, "--model should be"),
        (["list", "--config", "not-there.yaml"], 2, "not-there.yaml"),
    ],
)
def test_what_is_wrong_is_said(
    capsys: Shown, arguments: list[str], code: int, error: str
) -> None:
    assert run(["keys", *arguments]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert error in shown.err


@pytest.mark.parametrize(
    "arguments", [["list"], ["revoke", "key_1"], ["rotate", "key_1"]]
)
def test_where_no_gateway_has_been_none_is_made(
    capsys: Shown, data: Path, arguments: list[str]
) -> None:
    assert run(["keys", *arguments]) == 2
    told = capsys.readouterr().err
    assert f"There is no database at {data / 'local-ai.db'}" in told
    assert "PROXY_DATA_DIR" in told
    assert "--config" in told
    assert not data.exists()


def test_a_key_before_the_first_start_says_where_it_went(
    capsys: Shown, data: Path
) -> None:
    assert run(["keys", "create", "first"]) == 0
    told = capsys.readouterr().err
    assert f"A new database is made: {data / 'local-ai.db'}" in told
    assert run(["keys", "create", "second"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["create", "a", "--days", "-1"], "--days"),
        (["create", "a", "--days", "nan"], "--days"),
        (["create", "a", "--days", "soon"], "--days"),
        (["rotate", "key_1", "--grace-hours", "-1"], "--grace-hours"),
        (["rotate", "key_1", "--grace-hours", "1e9"], "--grace-hours"),
    ],
)
def test_a_number_that_makes_no_sense_names_its_flag(
    capsys: Shown, arguments: list[str], flag: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["keys", *arguments])
    assert ended.value.code == 2
    assert f"argument {flag}: it " in capsys.readouterr().err


def test_every_field_that_may_be_refused_has_a_flag() -> None:
    fields = set(KeyFields.__struct_fields__) - {"enabled"}
    assert fields <= keys._FLAGS.keys()


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["frobnicate"], ["create", "a", "--scope", "everything"],
        ["create", "a", "--metadata", "{"],
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused(capsys: Shown, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["keys", *arguments])
    assert ended.value.code == 2


def test_a_key_of_nobody_is_told(capsys: Shown) -> None:
    told(capsys, "create", "app")
    assert run(["keys", "revoke", "key_of_nobody"]) == 1
    assert "no such key" in capsys.readouterr().err


def test_a_database_that_is_none_is_told(capsys: Shown, data: Path) -> None:
    data.mkdir()
    (data / "local-ai.db").write_text("no database at all" * 100)
    assert run(["keys", "list"]) == 1
    assert "not a database" in capsys.readouterr().err
