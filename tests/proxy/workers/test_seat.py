from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from proxy.workers.seat import Seat


def test_others_are_those_who_have_a_socket(tmp_path: Path) -> None:
    for number in (3, 1, 12):
        Seat(tmp_path, number).socket.touch()
    Seat(tmp_path, 2).ready.touch()
    assert Seat(tmp_path, 1).others() == [Seat(tmp_path, 3), Seat(tmp_path, 12)]


def test_one_greets_and_once(tmp_path: Path) -> None:
    assert not Seat(tmp_path, 2).greets()
    assert Seat(tmp_path, 1).greets()
    assert not Seat(tmp_path, 1).greets()


async def test_it_notices_that_its_parent_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, parents = os.pipe()
    gone = asyncio.Event()
    with os.fdopen(here) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        Seat(tmp_path, 1).on_orphaned(gone.set)
        os.close(parents)
        await asyncio.wait_for(gone.wait(), 5)
