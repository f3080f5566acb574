"""How .venv is made and kept: the ways to make one, and when it is made again."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """bin/prepare.py over a checkout of its own; nobody is root, nothing is there."""
    spec = importlib.util.spec_from_file_location("prepare", ROOT / "bin/prepare.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in {
        "ROOT": tmp_path,
        "VENV": tmp_path / ".venv",
        "PYTHON": tmp_path / ".venv/bin/python",
        "has": lambda name: False,
        "importable": lambda python, name: False,
    }.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for name in ("setup.cfg", "pyproject.toml", "run.txt"):
        (tmp_path / name).write_text(name)
    return module


def install(prepare: ModuleType) -> None:
    """Leave what a finished installation of run.txt leaves."""
    prepare.PYTHON.parent.mkdir(parents=True)
    prepare.PYTHON.touch()
    (prepare.VENV / "made-in").write_text(str(prepare.ROOT))
    prepare.stamp_file("run").write_text(prepare.stamp(prepare.ROOT / "run.txt"))


def test_where_no_environment_can_be_made_it_names_the_package(
    prepare: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        prepare.make_venv()
    assert stop.value.code == 1
    assert "-venv" in capsys.readouterr().err
    assert not prepare.VENV.exists()


def test_a_python_without_ensurepip_is_helped_by_virtualenv_or_its_own_pip(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "has", lambda name: name == "venv")
    monkeypatch.setattr(prepare, "importable", lambda python, name: True)
    ways = [way[1:4] for way in prepare.ways_to_make("python3")]
    assert ways == [["-m", "virtualenv", "--quiet"], ["-m", "venv", "--without-pip"]]


def test_root_installs_what_debian_splits_off(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(prepare, "run", ran.append)
    assert list(prepare.ways_to_make("python3")) == [
        ["python3", "-m", "venv", str(prepare.VENV)]
    ]
    assert [command[:2] for command in ran] == [
        ["apt-get", "update"],
        ["apt-get", "install"],
    ]


def test_what_is_installed_stays_until_the_lock_changes(prepare: ModuleType) -> None:
    lock = prepare.ROOT / "run.txt"
    assert not prepare.is_current("run", lock)
    install(prepare)
    assert prepare.is_current("run", lock)
    lock.write_text("another version")
    assert not prepare.is_current("run", lock)
    assert prepare.is_ours()


def test_an_environment_that_was_moved_is_made_anew(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(prepare)
    monkeypatch.setattr(prepare, "ROOT", prepare.ROOT / ".." / prepare.ROOT.name)
    assert not prepare.is_ours()
    assert not prepare.is_current("run", prepare.ROOT / "run.txt")
