from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from proxy.routing.registry import Status
from proxy.workers.fleet import Fleet
from proxy.workers.seat import Seat
from tests.parts.http_text import post
from tests.parts.inside import CHAT, OpenSite, Site, open_site
from tests.parts.scripts import BODY, then_wait
from tests.parts.until import until

__all__ = ["open_site"]


@pytest.fixture
async def sites(open_site: OpenSite) -> list[Site]:
    return [await open_site() for _ in range(2)]


@pytest.fixture
async def fleets(tmp_path: Path, sites: list[Site]) -> AsyncIterator[list[Fleet]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(Fleet(Seat(tmp_path, n), site.runtime))
            for n, site in enumerate(sites, 1)
        ]


async def test_each_answers_the_metrics_of_all(fleets: list[Fleet]) -> None:
    for fleet in fleets:
        body, _ = await fleet.exposition(None)
        assert b"local_ai_workers 2.0" in body


async def test_one_that_does_not_answer_is_left_out(
    tmp_path: Path, fleets: list[Fleet]
) -> None:
    async def silent(_: object, writer: asyncio.StreamWriter) -> None:
        writer.close()

    stuck = await asyncio.start_unix_server(silent, Seat(tmp_path, 3).socket)
    Seat(tmp_path, 4).socket.touch()
    body, _ = await fleets[0].exposition(None)
    assert b"local_ai_workers 2.0" in body
    stuck.close()


async def test_what_is_told_is_done_by_the_others(
    fleets: list[Fleet], sites: list[Site]
) -> None:
    provider = sites[1].runtime.registry.get("box")
    assert provider is not None
    done = await fleets[0].tell("hold", "box", Status.DISABLED)
    assert done == [{"worker": 2, "ok": True}]
    assert provider.status is Status.DISABLED
    await fleets[0].tell("hold", "box", None)
    assert provider.status is not Status.DISABLED
    assert await fleets[0].tell("check", "box") == [{"worker": 2, "ok": True}]
    assert await fleets[0].tell("hold", "gone", None) == [{"worker": 2, "ok": False}]


async def test_a_reload_that_fails_elsewhere_is_told(
    fleets: list[Fleet], sites: list[Site]
) -> None:
    assert await fleets[0].tell("reload", "a test") == [{"worker": 2, "ok": True}]
    file = sites[1].runtime.loaded.file
    assert file is not None
    file.write_text(json.dumps({"server": {"prot": 1}}))
    assert await fleets[0].tell("reload", "a test") == [{"worker": 2, "ok": False}]


async def test_who_watches_sees_what_finishes_in_any_worker(
    tmp_path: Path, fleets: list[Fleet], sites: list[Site], open_site: OpenSite
) -> None:
    seen: list[str] = []
    async with aclosing(fleets[0].watch(60.0)) as watched:

        async def collect() -> None:
            async for rows, _ in watched:
                seen.extend(row["id"] for row in rows)

        def is_known(*sites: Site) -> bool:
            return {site.records[-1].id for site in sites} <= set(seen)

        collecting = asyncio.ensure_future(collect())
        await until(lambda: all(s.runtime.tail.is_watched for s in sites), "both tell")
        for site in sites:
            assert (await site.ask(post(CHAT, BODY))).status == 200
        await until(lambda: is_known(*sites), "both are seen")
        late = await open_site()
        async with Fleet(Seat(tmp_path, 3), late.runtime):
            await until(lambda: late.runtime.tail.is_watched, "one that came later")
            assert (await late.ask(post(CHAT, BODY))).status == 200
            await until(lambda: is_known(late), "it is seen")
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)
    await until(
        lambda: not any(site.runtime.tail.is_watched for site in sites),
        "nobody watches",
    )


async def test_nothing_happening_is_told_after_each_pause(fleets: list[Fleet]) -> None:
    async with aclosing(fleets[0].watch(0.0)) as watched:
        assert await anext(watched) == ([], 0)


async def test_how_busy_the_others_are_is_known(
    fleets: list[Fleet], sites: list[Site]
) -> None:
    assert await fleets[0].busy() == [{"box": [0, 0, 0.0]}]
    sites[1].upstream.script = then_wait(b"")
    caller = await sites[1].caller()
    caller.send(post(CHAT, BODY))
    await sites[1].busy_peer()
    assert await fleets[0].busy() == [{"box": [1, 0, 0.0]}]
    assert await fleets[1].busy() == [{"box": [0, 0, 0.0]}]
    caller.leave()
