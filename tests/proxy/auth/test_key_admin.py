from __future__ import annotations

import pytest

from proxy.auth.key_admin import LONGEST_GRACE_S, KeyAdmin
from proxy.core.errors import CallerFault, GatewayFault
from proxy.storage.errors import DatabaseAway
from tests.fakes.keys import FakeKeys


class House:
    def __init__(self) -> None:
        self.store = FakeKeys()
        self.refreshed = 0
        self.is_away = False
        self.admin = KeyAdmin(
            self.store, self.refresh, prefix="lai_", now=lambda: 1000.0
        )

    async def refresh(self) -> None:
        self.refreshed += 1
        if self.is_away:
            raise DatabaseAway("gone")


@pytest.fixture
def house() -> House:
    return House()


async def test_every_change_is_taken_over_at_once(house: House) -> None:
    made = await house.admin.create({"name": "app"})
    changed = await house.admin.change(made["id"], {"tenant": "a"})
    rotated = await house.admin.rotate(made["id"])
    revoked = await house.admin.revoke(made["id"])
    assert house.refreshed == 4
    assert (changed["tenant"], revoked["state"]) == ("a", "revoked")
    assert rotated["secret"] != made["secret"]
    assert [key["id"] for key in await house.admin.list()] == [made["id"]]


async def test_a_secret_is_told_even_if_the_database_goes_right_after(
    house: House,
) -> None:
    house.is_away = True
    assert (await house.admin.create({"name": "app"}))["secret"].startswith("lai_")


async def test_a_database_that_is_away_is_no_fault_of_the_caller(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise DatabaseAway("gone")

    monkeypatch.setattr(house.store, "all", away)
    with pytest.raises(GatewayFault) as refused:
        await house.admin.list()
    assert refused.value.code == "database_unavailable"


@pytest.mark.parametrize(
    "grace", [-1, LONGEST_GRACE_S + 1, float("nan"), float("inf"), "1", True, None]
)
async def test_a_grace_is_a_span_of_some_sense(house: House, grace: object) -> None:
    made = await house.admin.create({"name": "app"})
    with pytest.raises(CallerFault) as refused:
        await house.admin.rotate(made["id"], {"grace_seconds": grace})
    assert refused.value.param == "grace_seconds"
