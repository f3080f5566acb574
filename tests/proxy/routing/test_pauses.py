from __future__ import annotations

import pytest

from proxy.core.errors import ProviderFault
from proxy.routing.pauses import Pauses

FULL = ProviderFault("all_providers_unavailable", "Nobody is there.")


def test_no_more_wait_than_may() -> None:
    pauses = Pauses(1)
    with pauses.place(FULL):
        assert len(pauses) == 1
        with pytest.raises(ProviderFault), pauses.place(FULL):
            raise AssertionError("there was no place")
    assert len(pauses) == 0
    with pauses.place(FULL):
        pass


def test_a_place_comes_free_however_the_wait_ends() -> None:
    pauses = Pauses(1)
    with pytest.raises(KeyboardInterrupt), pauses.place(FULL):
        raise KeyboardInterrupt
    assert len(pauses) == 0
