from __future__ import annotations

import sys

import pytest

from proxy.state.memory import MemoryState
from proxy.state.opening import NoDriver, make_state
from proxy.state.valkey.state import ValkeyState


async def test_the_url_says_which_state_it_is() -> None:
    assert isinstance(make_state("memory://", 1), MemoryState)
    for url in ("valkey://127.0.0.1", "rediss://u:p@127.0.0.1:6380/2"):
        assert isinstance(make_state(url, 2), ValkeyState)


def test_a_driver_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "proxy.state.valkey.state", None)
    with pytest.raises(NoDriver, match=r"local-ai\[valkey\]"):
        make_state("valkey://127.0.0.1", 2)
