"""The command line: verbs, flags, exit codes, what goes where."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from proxy import __version__
from proxy.cli import OWN_ARGUMENTS, VERBS, parse, run
from proxy.config import Options
from proxy.config.options import flags

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def options_of(*arguments: str) -> Options:
    given = parse(arguments)
    return Options(**{flag.name: getattr(given, flag.name) for flag in flags()})


def test_no_flag_is_no_option() -> None:
    assert options_of() == Options()
    assert parse([]).verb == "serve"


def test_every_flag_becomes_its_option() -> None:
    arguments = (
        "serve --host ::1 --port 1 --config f --workers 2 --ollama-port 3 "
        "--lmstudio-port 4 --ollama-base-url a --lmstudio-base-url b "
        "--openai-api-key c --anthropic-api-key d --gemini-api-key e --jwt-secret f "
        "--enable-auth --debug --log-format json --no-discover --demo"
    )
    assert options_of(*arguments.split()) == Options(
        host="::1", port=1, config="f", workers=2, ollama_port=3, lmstudio_port=4,
        ollama_base_url="a", lmstudio_base_url="b", openai_api_key="c",
        anthropic_api_key="d", gemini_api_key="e", jwt_secret="f", enable_auth=True,
        debug=True, log_format="json", no_discover=True, demo=True,
    )  # fmt: skip
    assert all(flag.text in arguments for flag in flags())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["check"],
            "unknown verb check (did you mean 'check-config'?); known are serve",
        ),
        (["frobnicate"], "unknown verb frobnicate; known are serve, check-config"),
        (["--port", "many"], "argument --port: invalid int value: 'many'"),
        (["--prot", "1"], "unknown argument --prot (did you mean '--port'?)"),
        (["--jwt-secert=x"], "unknown argument --jwt-secert (did you mean"),
        (["--log-format", "xml"], "argument --log-format: invalid choice: 'xml'"),
        (["--deb"], "unknown argument --deb (did you mean '--debug'?)"),
        (["serve", "now"], "unknown argument now"),
    ],
)
def test_a_wrong_command_line_says_what_is_known(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(arguments)
    assert stopped.value.code == 2
    # the quotes around choices differ between versions of argparse
    assert told.replace("'", "") in capsys.readouterr().err.replace("'", "")


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in (*VERBS, *OWN_ARGUMENTS))


def test_a_fine_configuration_is_said_to_be(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("server: {host: 0.0.0.0}")
    assert run(["check-config"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "config.yaml: fine\nproviders: 0, models: 0, warnings: 1\n"
    assert "warning: config.yaml:1: server.host: 0.0.0.0 is open" in shown.err


@pytest.mark.parametrize("verb", ["check-config", "serve", "models", "doctor"])
def test_a_wrong_configuration_stops_every_verb_with_all_problems(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("servr: {}\nlogging: {level: loud}\n")
    assert run([verb, "--config", str(file)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "cannot be used: 2 problems" in shown.err
    assert f"{file}:1: servr: unknown key" in shown.err
    assert f"{file}:2: logging.level" in shown.err
    assert "Traceback" not in shown.err


def test_nothing_configured_is_fine_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check-config"]) == 0
    assert "built-in defaults" in capsys.readouterr().out


def test_the_version_is_answered_before_anything_is_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "proxy", "--version"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == f"local-ai {__version__}\n"
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "proxy" in loaded
    assert not {"argparse", "pydantic", "aiohttp", "yaml", "proxy.cli"} & loaded
    assert not any(name.startswith("providers") for name in loaded)


def test_the_module_answers_as_the_command_line_does(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "check-config", "--port", "70000"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        env={"PROXY_CONFIG": str(ROOT / "config.example.yaml"), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 2
    assert "command line: --port: should be less than or equal to 65535" in done.stderr
