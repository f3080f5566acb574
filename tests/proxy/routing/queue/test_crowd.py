from __future__ import annotations

import asyncio

from proxy.routing.model import Candidate
from proxy.routing.queue.claim import Claim, Waiter
from proxy.routing.queue.crowd import Crowd
from tests.proxy.routing.queue.house import House, provider


def waiter(number: int, holder: str, *candidates: Candidate) -> Waiter:
    answer = asyncio.get_running_loop().create_future()
    return Waiter(Claim(candidates, holder), number, 0.0, 60.0, answer)


def two_providers() -> tuple[Candidate, Candidate]:
    house = House()
    house.load(provider("gpu", 1), provider("mac", 1))
    return house.at("gpu"), house.at("mac")


async def test_the_newest_of_the_largest_holder_gives_way() -> None:
    crowd, (gpu, mac) = Crowd(), two_providers()
    waiters = [
        waiter(number, holder, gpu if number % 2 else mac)
        for number, holder in enumerate("abcbca")
    ]
    assert crowd.who_gives_way("a") is None
    for one in waiters:
        crowd.add(one)
    assert crowd.who_gives_way("new") is waiters[-1]
    assert crowd.who_gives_way("a") is None
    crowd.remove(waiters[-1])
    assert crowd.who_gives_way("new") is waiters[-2]
    assert crowd.who_gives_way("a") is None, "a newcomer is the newest of equals"


async def test_who_waits_for_several_stands_in_each_line_and_counts_once() -> None:
    crowd, (gpu, mac) = Crowd(), two_providers()
    both = waiter(1, "a", gpu, mac)
    crowd.add(both)
    crowd.add(waiter(2, "a", mac))
    assert [len(crowd.lines[id_]) for id_ in ("gpu", "mac")] == [1, 2]
    assert crowd.in_line(["gpu", "mac"]) == 2
    crowd.remove(both)
    crowd.remove(both)
    assert list(crowd.lines) == ["mac"]
    assert len(crowd) == 1


async def test_who_moves_keeps_its_place() -> None:
    crowd, (gpu, mac) = Crowd(), two_providers()
    first, second = waiter(1, "a", gpu), waiter(2, "a", mac)
    crowd.add(first)
    crowd.add(second)
    crowd.move(first, (mac,))
    assert list(crowd.lines) == ["mac"]
    assert crowd.lines["mac"].oldest is crowd.oldest is first
    pick = crowd.lines["mac"].pick(0.0, None, lambda _: True)
    assert pick is not None
    assert pick.waiter is first


async def test_all_can_be_gone_through_while_they_leave() -> None:
    crowd, (gpu, _) = Crowd(), two_providers()
    for number in range(5):
        crowd.add(waiter(number, "a", gpu))
    for one in crowd:
        crowd.remove(one)
    assert len(crowd) == 0
    assert crowd.oldest is None
    assert crowd.lines == {}
