"""Houses that tests build, closed when they end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.proxy.routing.queue.house import House

Build = Callable[..., House]


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    """Answer what builds a house. In the end everybody leaves, and nothing is left."""
    houses: list[House] = []

    def one(*args: object, **more: object) -> House:
        houses.append(House(*args, **more))  # type: ignore[arg-type]
        return houses[-1]

    yield one
    for house in houses:
        await house.close()
        house.assert_empty()
