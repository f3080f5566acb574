"""A change of the file is noticed, however it is written, and nothing else is."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.config import watch

DEADLINE_S = 10.0


def written(file: Path) -> None:
    file.write_text("written: anew")


def replaced(file: Path) -> None:
    other = file.with_suffix(".new")
    other.write_text("put: in its place")
    other.replace(file)


def recreated(file: Path) -> None:
    file.unlink()
    file.write_text("deleted: and made again")


@asynccontextmanager
async def watched(*files: Path) -> AsyncIterator[Callable[[], asyncio.Task[None]]]:
    """Watch; answers what waits for the next change."""
    found = watch.Watch(files).changes()
    waiting: list[asyncio.Task[None]] = []

    def change() -> asyncio.Task[None]:
        waiting.append(asyncio.ensure_future(anext(found)))  # type: ignore[arg-type]
        return waiting[-1]

    yield change
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def noticed(change: asyncio.Task[None], act: Callable[[], object]) -> None:
    """Do it, again and again until it is noticed: when watching begins is not told."""
    async with asyncio.timeout(DEADLINE_S):
        while not change.done():
            act()
            await asyncio.wait({change}, timeout=0.5)
        await change


@pytest.mark.parametrize("how", [written, replaced, recreated])
async def test_a_change_is_noticed(tmp_path: Path, how: Callable[[Path], None]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("first: version")
    async with watched(file) as change:
        await noticed(change(), lambda: how(file))


async def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    made = itertools.count()

    def swap() -> None:
        folder = tmp_path / f"made{next(made)}"
        folder.mkdir()
        (folder / "config.yaml").write_text("the same: everywhere")
        (tmp_path / "new").symlink_to(folder.name)
        (tmp_path / "new").replace(tmp_path / "data")

    swap()
    (tmp_path / "config.yaml").symlink_to("data/config.yaml")
    async with watched(tmp_path / "config.yaml") as change:
        await noticed(change(), swap)


async def test_what_a_link_leads_to_is_watched_too(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "real.yaml"
    real.parent.mkdir()
    real.write_text("first: version")
    (tmp_path / "config.yaml").symlink_to(real)
    async with watched(tmp_path / "config.yaml") as change:
        await noticed(change(), lambda: replaced(real))


async def test_a_file_that_appears_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    async with watched(file, Path("/nowhere/config.yaml")) as change:
        await noticed(change(), lambda: written(file))


async def test_neither_its_end_nor_its_neighbours_are_changes(tmp_path: Path) -> None:
    file, other = tmp_path / "config.yaml", tmp_path / "another.yaml"
    file.write_text("first: version")
    async with watched(file) as change, watched(other) as witness:
        first, second = change(), witness()
        await noticed(second, lambda: replaced(other))
        assert not first.done()
        file.unlink()
        await noticed(witness(), lambda: written(other))
        assert not first.done()
        await noticed(first, lambda: written(file))


async def test_the_same_file_again_is_no_change(tmp_path: Path) -> None:
    file, other = tmp_path / "config.yaml", tmp_path / "another.yaml"
    file.write_text("first: version")
    async with watched(file) as change, watched(other) as witness:
        waits = change()
        await noticed(witness(), lambda: written(other))
        file.rename(tmp_path / "away")
        await noticed(witness(), lambda: written(other))
        (tmp_path / "away").rename(file)
        await noticed(witness(), lambda: written(other))
        assert not waits.done()


async def test_what_changed_before_it_watched_is_noticed_too(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("first: version")
    known = watch.Watch([file])
    replaced(file)
    async with asyncio.timeout(DEADLINE_S):
        await anext(known.changes())
