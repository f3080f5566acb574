from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest

from proxy.workers.control import Control, NoAnswer, ask, follow
from tests.parts.until import until


async def add(one: int, other: int) -> int:
    return one + other


async def fail() -> None:
    raise RuntimeError("on purpose")


async def stall() -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "worker.sock"
    actions = {"add": add, "fail": fail, "stall": stall}
    async with Control(path, actions):
        yield path
    assert not path.exists()


async def test_a_question_is_answered(path: Path) -> None:
    assert await ask(path, "add", 1, 2, within_s=5) == 3


@pytest.mark.parametrize("what", ["fail", "unheard of"])
async def test_what_cannot_be_done_is_no_answer(path: Path, what: str) -> None:
    with pytest.raises(NoAnswer, match="failed"):
        await ask(path, what, within_s=5)
    assert await ask(path, "add", 1, 2, within_s=5) == 3


async def test_no_answer_is_waited_for_longer_than_told(path: Path) -> None:
    with pytest.raises(NoAnswer, match="Timeout"):
        await ask(path, "stall", within_s=0.05)


async def test_whoever_has_gone_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer):
        await ask(tmp_path / "gone.sock", "add", within_s=5)


async def test_the_socket_of_one_that_was_killed_is_taken_over(path: Path) -> None:
    async with Control(path, {"who": lambda: answer("new")}):
        assert await ask(path, "who", within_s=5) == "new"


@pytest.mark.parametrize("said", [b"", b"\n", b"{}\n", b"[]\n", b"nonsense\n", b"[1"])
async def test_what_is_no_question_is_not_answered(path: Path, said: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(said)
    writer.write_eof()
    async with asyncio.timeout(5):
        assert await reader.read() in (b"", b"[]\n")
    writer.close()


async def answer(value: Any) -> Any:
    return value


async def three() -> AsyncGenerator[int]:
    for number in range(3):
        yield number


async def forever() -> AsyncGenerator[int]:
    while True:
        yield 0
        await asyncio.sleep(0)


async def test_a_story_is_told_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "worker.sock"
    async with Control(path, {}, {"three": three}):
        assert [one async for one in follow(path, "three")] == [0, 1, 2]


async def test_a_story_ends_when_its_listener_leaves_or_its_teller(
    tmp_path: Path,
) -> None:
    path = tmp_path / "worker.sock"
    async with Control(path, {}, {"forever": forever}) as control:
        async with aclosing(follow(path, "forever")) as heard:
            assert await anext(heard) == 0
        await until(lambda: not control._listeners, "nobody listens")
        other = follow(path, "forever")
        assert await anext(other) == 0
    async with asyncio.timeout(5):
        with suppress(NoAnswer):
            assert not [one async for one in other if one]


async def test_nothing_is_heard_of_one_that_has_gone(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer):
        await anext(follow(tmp_path / "gone.sock", "three"))
