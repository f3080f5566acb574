"""A real server, and processes of which each is a state of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from proxy.state.valkey.state import ValkeyState
from tests.parts.valkey import Valkey, valkey

Join = Callable[..., Awaitable[ValkeyState]]
"""`await join()`: another process, at the same database unless another is named."""


@pytest.fixture(scope="session")
def shared() -> Iterator[Valkey]:
    """For whoever leaves the server as it is."""
    with valkey() as server:
        yield server


@pytest.fixture
def server() -> Iterator[Valkey]:
    """For whoever stops it."""
    with valkey() as server:
        yield server


@pytest.fixture
async def join(request: pytest.FixtureRequest) -> AsyncIterator[Join]:
    async with AsyncExitStack() as stack:
        first: list[str] = []

        async def one_more(url: str | None = None, **options: Any) -> ValkeyState:
            if url is None:
                if not first:
                    first.append(request.getfixturevalue("shared").new_database())
                url = first[0]
            state = ValkeyState(url, **options)
            await stack.enter_async_context(state)
            return state

        yield one_more
