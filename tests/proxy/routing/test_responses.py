from __future__ import annotations

import pytest

from proxy.core.errors import CallerFault
from proxy.routing.responses import ResponseOwners


def test_answers_who_made_a_response() -> None:
    owners = ResponseOwners()
    owners.remember("resp_1", "team", "spark")
    assert owners.provider_id("resp_1", "team") == "spark"


@pytest.mark.parametrize(("id_", "tenant"), [("resp_1", "other"), ("resp_2", "team")])
def test_anothers_and_unknown_ids_look_the_same(id_: str, tenant: str) -> None:
    owners = ResponseOwners()
    owners.remember("resp_1", "team", "spark")
    with pytest.raises(CallerFault) as caught:
        owners.provider_id(id_, tenant, param="previous_response_id")
    assert caught.value.code == "not_found"
    assert caught.value.param == "previous_response_id"
    assert id_ not in caught.value.message


def test_another_tenant_cannot_take_an_id_over() -> None:
    owners = ResponseOwners()
    owners.remember("resp_1", "team", "spark")
    owners.remember("resp_1", "other", "evil")
    assert owners.provider_id("resp_1", "team") == "spark"


def test_forgets_the_least_recently_used() -> None:
    owners = ResponseOwners(limit=2)
    for id_ in ("a", "b"):
        owners.remember(id_, "t", "p")
    owners.provider_id("a", "t")
    owners.remember("c", "t", "p")
    assert len(owners) == 2
    assert owners.provider_id("a", "t") == "p"
    with pytest.raises(CallerFault):
        owners.provider_id("b", "t")


def test_forgets_what_was_deleted() -> None:
    owners = ResponseOwners()
    owners.remember("a", "t", "p")
    owners.forget("a")
    owners.forget("never known")
    assert len(owners) == 0
