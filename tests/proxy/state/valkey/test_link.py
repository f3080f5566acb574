from __future__ import annotations

import asyncio

import pytest

from proxy.state.valkey.link import Link, LinkLost, News, close
from proxy.state.valkey.scripts import BEAT
from tests.parts.valkey import Valkey

SILENCE_S = 5.0


class Ear:
    def __init__(self) -> None:
        self.heard: list[News] = []
        self.lost = asyncio.Event()

    def link(self, url: str, silence_s: float = SILENCE_S) -> Link:
        return Link(url, self.heard.append, self.lost.set, silence_s)


async def test_what_is_said_is_heard_in_the_same_database_alone(shared: Valkey) -> None:
    url, elsewhere = shared.new_database(), shared.new_database()
    one, other, stranger = Ear(), Ear(), Ear()
    async with one.link(url) as link, other.link(url), stranger.link(elsewhere) as far:
        await far.exchange([("PUBLISH", (), ('["far","z"]',))])
        await link.exchange(
            [("PUBLISH", (), (said,)) for said in ("{", "[1]", "[1,2]")]
        )
        await link.exchange([("PUBLISH", (), ('["near","a",1.5]',))])
        async with asyncio.timeout(5):
            while not (one.heard and other.heard and stranger.heard):  # noqa: ASYNC110 -- two links
                await asyncio.sleep(0.01)
    assert one.heard == other.heard == [["near", "a", 1.5]]
    assert stranger.heard == [["far", "z"]]


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
async def test_both_names_of_the_protocol_are_good(shared: Valkey, scheme: str) -> None:
    url = shared.new_database().replace("valkey", scheme)
    async with Ear().link(url) as link:
        assert await link.exchange([(BEAT, (), ("me", 1000))]) == [1]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("valkey://127.0.0.1:1", "connect"),
        ("valkey://:wrong@{host}", "AUTH"),
        ("valkey://{host}/99999", "out of range"),
    ],
)
async def test_a_server_that_cannot_be_used_is_said_to_be_lost(
    shared: Valkey, url: str, why: str
) -> None:
    host = shared.url.removeprefix("valkey://")
    with pytest.raises(LinkLost, match=f"(?i){why}"):
        async with Ear().link(url.format(host=host)):
            pass


async def test_an_answer_that_is_an_error_loses_the_link(shared: Valkey) -> None:
    async with Ear().link(shared.new_database()) as link:
        with pytest.raises(LinkLost, match="me"):
            await link.exchange([(BEAT, (), ("me", "soon"))])


async def test_silence_loses_the_link(shared: Valkey) -> None:
    ear = Ear()
    async with ear.link(shared.new_database(), 0.05) as link:
        link.check()
        await asyncio.wait_for(ear.lost.wait(), 5)
        with pytest.raises(LinkLost):
            link.check()


async def test_a_client_is_closed_in_time_whatever_its_server_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Clinging:
        async def aclose(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("proxy.state.valkey.link.CLOSE_S", 0.01)
    async with asyncio.timeout(5):
        await close(Clinging())  # type: ignore[arg-type]
