"""Real trials: of the jail of this machine, of none, and of some with holes."""

from __future__ import annotations

import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from proxy.sandbox.inside.trial import standing
from proxy.sandbox.jail import Bare, Command, Jail, find_jails
from proxy.sandbox.trial import WALLS, standing_jail


class Holed:
    """A jail that lacks some words of its command line."""

    def __init__(self, jail: Jail, *words: str, then: tuple[str, ...] = ()) -> None:
        self._jail = jail
        self._words = words
        self._then = then

    def command(self, module: str, *, forks: bool, number: int) -> Command:
        made = self._jail.command(module, forks=forks, number=number)
        kept = [word for word in made.arguments if word not in self._words]
        return replace(made, arguments=(kept[0], *self._then, *kept[1:]))


def first_jail() -> Jail:
    return next(iter(find_jails()))


async def stands(jail: object) -> bool:
    return await standing_jail([cast("Jail", jail)]) is not None


async def test_the_walls_of_a_jail_stand(jailed: None) -> None:
    found = await standing_jail(find_jails())
    assert found is not None
    assert set(found[1]) == WALLS


async def test_a_jail_with_a_network_is_none(jailed: None) -> None:
    assert not await stands(Holed(first_jail(), "--unshare-net"))


async def test_a_jail_with_other_processes_is_none(jailed: None) -> None:
    assert not await stands(Holed(first_jail(), "--unshare-pid"))


async def test_a_jail_that_shows_the_machines_files_is_none(jailed: None) -> None:
    folder = tempfile.gettempdir()
    made = first_jail().command("trial", forks=False, number=0).arguments
    at = made.index("--remount-ro")
    assert made[at - 4 : at] == ("--tmpfs", "/tmp", "--chdir", "/tmp")

    class Showing(Holed):
        def command(self, module: str, *, forks: bool, number: int) -> Command:
            command = super().command(module, forks=forks, number=number)
            words = list(command.arguments)
            place = words.index("--tmpfs")
            words[place - 4 : place + 2] = ["--bind", folder, folder]
            return replace(command, arguments=tuple(words))

    assert not await stands(Showing(first_jail()))


async def test_a_jail_that_cannot_be_built_is_none(jailed: None) -> None:
    assert not await stands(Holed(first_jail(), then=("--no-such-flag",)))
    assert not await stands(replace(first_jail(), bwrap="/nonexistent/bwrap"))


async def test_a_bare_process_has_no_walls() -> None:
    assert not await stands(Bare())


async def test_the_next_one_is_tried_when_the_first_has_holes(jailed: None) -> None:
    holed: Any = Holed(first_jail(), "--unshare-net")
    found = await standing_jail([holed, first_jail()])
    assert found is not None
    assert found[0] == first_jail()


@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is Linux's")
def test_from_outside_no_wall_stands(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0local-ai-test")
        listener.listen()
        told = standing({"file": str(tmp_path), "name": "local-ai-test"})
    assert not {"files", "processes", "network", "system_calls"} & set(told)


@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is Linux's")
def test_every_wall_is_tried(tmp_path: Path) -> None:
    missing = {"file": str(tmp_path / "missing"), "name": "local-ai-nobody"}
    assert set(standing(missing)) <= WALLS
