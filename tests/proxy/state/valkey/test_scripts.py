from __future__ import annotations

from typing import Final

from proxy.state.valkey.link import Link
from proxy.state.valkey.scripts import BEAT, TAKE, TELL, WAIVE
from tests.parts.valkey import Valkey

LEASE_MS: Final = 60_000
WANT_MS: Final = 60_000


async def test_room_is_kept_for_who_has_waited_longer(shared: Valkey) -> None:
    async with Link(shared.new_database(), print, lambda: None, 60) as link:

        async def take(process: str) -> list[int]:
            asked = (process, LEASE_MS, 1, WANT_MS, "gpu", 1, 1)
            (reply,) = await link.exchange([(TAKE, (), asked)])
            return list(reply)

        for process in "abc":
            await link.exchange([(BEAT, (), (process, LEASE_MS))])
        assert await take("a") == [1, 0]
        assert await take("b") == [0, 1]
        assert await take("c") == [0, 2], "b is before it"
        await link.exchange([(TELL, (), ("a", LEASE_MS, "gpu", 0))])
        assert (await take("a"))[0] == 0, "b and c are before it"
        assert (await take("c"))[0] == 0
        await link.exchange([(WAIVE, (), ("b", "gpu"))])
        assert (await take("a"))[0] == 0
        assert (await take("c"))[0] == 1


async def test_a_process_that_is_not_alive_holds_and_wants_nothing(
    shared: Valkey,
) -> None:
    async with Link(shared.new_database(), print, lambda: None, 60) as link:
        dead = ("dead", LEASE_MS, "gpu", 3)
        await link.exchange([(TELL, (), dead), (BEAT, (), ("a", LEASE_MS))])
        asked = ("a", LEASE_MS, 5, WANT_MS, "gpu", 4, 4)
        assert await link.exchange([(TAKE, (), asked)]) == [[4, 0]]


async def test_a_share_bounds_what_is_taken(shared: Valkey) -> None:
    async with Link(shared.new_database(), print, lambda: None, 60) as link:
        await link.exchange([(BEAT, (), ("a", LEASE_MS))])
        asked = ("a", LEASE_MS, 3, WANT_MS, "gpu", 4, 2)
        assert await link.exchange([(TAKE, (), asked)]) == [[2, 2]]
