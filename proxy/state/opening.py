"""Makes the state that a URL asks for. Drivers are loaded where they are used alone."""

from __future__ import annotations

from typing import Final

from proxy.state.base import State
from proxy.state.memory import MemoryState

MEMORY: Final = "memory://"


class NoDriver(Exception):
    """The library that speaks to the server is not installed."""


def make_state(url: str, processes: int) -> State:
    """Answer the state, still to be opened; there are so many processes at least.

    Raises NoDriver.
    """
    if url.startswith(MEMORY):
        return MemoryState()
    try:
        from proxy.state.valkey.state import ValkeyState
    except ImportError as error:
        raise NoDriver(
            f"state.url needs the extra `valkey`: pip install 'local-ai[valkey]' ({error})"
        ) from error
    return ValkeyState(url, processes=processes)
