"""The commands people type: what they start, and what they say where they cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "dirname", "id")
# In place of .venv's Python: the questions of lib.sh and prepare.py are answered with
# yes, everything else is told.
RECORDER = """#!/bin/sh
case $1 in -IS) exit 0 ;; esac
printf '%s\\n' "$PWD" "$@"
"""
OLD_PYTHON = """#!/bin/sh
exit 1
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in a folder with a space, and a PATH of little but a shell."""
    made = tmp_path / "a checkout"
    shutil.copytree(ROOT / "bin", made / "bin")
    shutil.copytree(ROOT / "requirements", made / "requirements")
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in TOOLS:
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    return made


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def run(
    checkout: Path, command: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "bin" / command, *arguments],
        cwd=checkout.parent,
        env={"PATH": str(checkout.parent / "tools")},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_run_serves_on_3500_from_where_it_was_called(checkout: Path) -> None:
    script(checkout / ".venv/bin/python", RECORDER)
    done = run(checkout, "run", "--config", "my file.yaml", "--port", "4000")
    assert done.stdout.splitlines() == [
        str(checkout.parent),
        *("-P", "-m", "proxy", "--port", "3500"),
        *("--config", "my file.yaml", "--port", "4000"),
    ]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "verb"),
    [
        ("manage-api-keys", "keys"),
        ("tail-requests", "tail"),
        ("analyze-logs", "analyze"),
        ("analyze-token-usage", "usage"),
    ],
)
def test_the_operators_tools_are_verbs(checkout: Path, command: str, verb: str) -> None:
    script(checkout / ".venv/bin/python", RECORDER)
    done = run(checkout, command, "--json")
    assert done.stdout.splitlines()[1:] == ["-P", "-m", "proxy", verb, "--json"]


def test_test_runs_pytest_at_the_root(checkout: Path) -> None:
    script(checkout / ".venv/bin/python", RECORDER)
    done = run(checkout, "test", "-k", "a or b")
    assert done.stdout.splitlines() == [
        *(str(checkout), "-m", "pytest", "-k", "a or b"),
    ]


def test_without_a_new_python_it_says_what_to_install(checkout: Path) -> None:
    script(checkout.parent / "tools/python3", OLD_PYTHON)
    done = run(checkout, "run")
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr
    assert "apt install" in done.stderr
    assert "not found" not in done.stderr


def test_commands_work_from_any_shell_that_is_posix() -> None:
    for command in sorted((ROOT / "bin").iterdir()):
        if command.suffix != ".py" and command.is_file():
            done = subprocess.run(
                ["sh", "-n", command], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert command.suffix == ".sh" or os.access(command, os.X_OK), command
