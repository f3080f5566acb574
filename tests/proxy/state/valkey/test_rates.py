from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.state.base import Charge, Rate
from proxy.state.valkey.link import Link
from proxy.state.valkey.rates import OwnGrant
from proxy.state.valkey.state import ValkeyState
from tests.parts.until import until
from tests.parts.valkey import Valkey
from tests.proxy.state.valkey.conftest import Join

PER_HOUR = Rate(60, 3600.0)


def charges(cost: float = 1) -> tuple[Charge, ...]:
    return (Charge("key:a", PER_HOUR, cost), Charge("tenant:b", PER_HOUR, cost))


async def test_processes_draw_on_one_allowance(join: Join) -> None:
    one, other = await join(), await join()
    grants = await asyncio.gather(
        *(state.rates.reserve(charges()) for state in (one, other) for _ in range(40))
    )
    assert sum(grant.granted for grant in grants) == 60
    assert {grant.retry_after_s > 0 for grant in grants if not grant.granted} == {True}


async def test_what_one_gives_back_another_can_have(join: Join) -> None:
    one, other = await join(), await join()
    grant = await one.rates.reserve(charges(60))
    assert not (await other.rates.reserve(charges())).granted
    one.rates.settle(grant, (0.0, 0.0))
    await one.rates.reserve(())
    await soon_granted(other, charges(30))


async def test_many_requests_share_an_exchange(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = await join(beat_s=60)
    exchange, sizes = Link.exchange, []

    async def counted(self: Link, commands: Any) -> list[Any]:
        sizes.append(len(commands))
        return await exchange(self, commands)

    monkeypatch.setattr(Link, "exchange", counted)
    await asyncio.gather(*(state.rates.reserve(charges()) for _ in range(100)))
    assert sum(sizes) == 100
    assert len(sizes) <= 2


async def test_nothing_to_charge_is_granted_at_once(join: Join) -> None:
    state = await join()
    grant = state.rates.try_reserve(())
    assert grant is not None
    assert grant.granted


async def test_one_who_left_before_the_answer_has_used_nothing(join: Join) -> None:
    state = await join(beat_s=60)
    asking = asyncio.create_task(state.rates.reserve(charges(60)))
    for _ in range(100):
        if state.rates._asking:
            break
        await asyncio.sleep(0)
    assert state.rates._asking
    asking.cancel()
    await soon_granted(state, charges(60))


async def test_alone_a_process_grants_its_share(join: Join, server: Valkey) -> None:
    one = await join(server.url, beat_s=0.2)
    await join(server.url, beat_s=0.2)
    await until(lambda: one._standing.processes == 2, "they know of each other")
    server.stop()
    await until(lambda: one.is_away, "the loss is noticed")
    granted = [one.rates.try_reserve(charges()) for _ in range(40)]
    assert sum(grant is not None and grant.granted for grant in granted) == 30
    assert one.alone["rates"] == 30
    grant = granted[0]
    assert isinstance(grant, OwnGrant)
    one.rates.settle(grant, (0.0, 0.0))
    again = await one.rates.reserve(charges())
    assert again.granted


async def soon_granted(state: ValkeyState, wanted: tuple[Charge, ...]) -> None:
    """Ask until it is granted: what is settled is not waited for."""
    for _ in range(500):
        if (await state.rates.reserve(wanted)).granted:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not granted")
