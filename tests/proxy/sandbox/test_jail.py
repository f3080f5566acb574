from __future__ import annotations

import sys
from pathlib import Path

import pytest

from proxy.sandbox import jail as module
from proxy.sandbox.jail import Bare, Jail, find_jails, find_monty


def words(jail: Jail, *, forks: bool = False, number: int = 1) -> list[str]:
    return list(jail.command("cpython", forks=forks, number=number).arguments)


def shown(arguments: list[str]) -> dict[str, str]:
    """What a jail shows of the machine: where, and how."""
    binds = ("--ro-bind", "--bind", "--dev-bind")
    return {
        arguments[at + 2]: word for at, word in enumerate(arguments) if word in binds
    }


@pytest.mark.parametrize("is_root", [True, False])
def test_a_jail_shares_nothing_and_can_write_nowhere(is_root: bool) -> None:
    arguments = words(Jail("/usr/bin/bwrap", is_root=is_root, nests=True))
    assert {
        "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
        "--die-with-parent", "--new-session", "--clearenv", "--seccomp",
    } <= set(arguments)  # fmt: skip
    assert "--bind" not in arguments
    assert arguments[arguments.index("--cap-drop") + 1] == "ALL"
    last_mount = max(arguments.index("--tmpfs"), arguments.index("--dev-bind"))
    assert arguments.index("--remount-ro") > last_mount
    assert "--proc" not in arguments
    assert "--dev" not in arguments


def test_a_jail_shows_libraries_and_nothing_of_anybodys() -> None:
    places = shown(words(Jail("/usr/bin/bwrap", is_root=True, nests=False)))
    root = Path(module.__file__).parents[2]
    for place in ("/", "/etc", "/home", "/proc", "/run", "/var", str(root), sys.prefix):
        assert place not in places
    assert {place for place, how in places.items() if how == "--dev-bind"} == {
        "/dev/null"
    }


def test_root_becomes_another_user_for_each_process() -> None:
    jail = Jail("/usr/bin/bwrap", is_root=True, nests=False)
    users = [jail.command("cpython", forks=False, number=n).user for n in range(50)]
    assert len(set(users)) == 50
    assert all(user is not None and user >= 60_000 for user in users)
    arguments = words(jail)
    kept = [arguments[at + 1] for at, w in enumerate(arguments) if w == "--cap-add"]
    assert kept == ["CAP_SETUID", "CAP_SETGID"]


def test_an_ordinary_user_becomes_nobody_and_forbids_more_namespaces() -> None:
    arguments = words(Jail("/usr/bin/bwrap", is_root=False, nests=True))
    assert {"--unshare-user", "--disable-userns"} <= set(arguments)
    assert "--cap-add" not in arguments
    assert "--disable-userns" not in words(
        Jail("/usr/bin/bwrap", is_root=False, nests=False)
    )


def test_only_monty_may_start_a_process() -> None:
    jail = Jail("/usr/bin/bwrap", is_root=True, nests=False)
    alone = jail.command("cpython", forks=False, number=1).filter
    forking = jail.command("monty", forks=True, number=1).filter
    assert alone != forking


def test_python_is_isolated_from_its_surroundings() -> None:
    for arguments in (
        words(Jail("/usr/bin/bwrap", is_root=True, nests=False)),
        list(Bare().command("monty", forks=True, number=1).arguments),
    ):
        python = arguments[: arguments.index("-c")]
        assert python[-3:] == ["-I", "-S", "-B"]


def test_there_is_no_jail_without_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    assert list(find_jails()) == []


def test_what_may_work_is_tried_the_best_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: "/usr/bin/bwrap")
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    assert [jail.is_root for jail in find_jails()] == [True]
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    assert [jail.nests for jail in find_jails()] == [True, False]


def test_monty_is_there_only_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert find_monty() is None
