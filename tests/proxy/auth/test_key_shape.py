from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.auth.key_fields import KeyFields
from proxy.auth.key_shape import read_change, read_new, shown_key, state_of
from proxy.core.errors import CallerFault
from proxy.core.keys import KeyRow

ROW = KeyRow(
    id="key_1",
    name="app",
    tenant="a",
    hash="not to be shown",
    prefix="lai_0123",
    scopes=("inference",),
    created_at=1_800_000_000.0,
    requests_rate="60/minute",
    daily_usd=0.5,
    former_hash="nor this",
    former_until=1_800_000_060.0,
)


def test_all_is_shown_but_what_leads_to_the_secret() -> None:
    shown = shown_key(ROW, 1_800_000_000.0)
    text = json.dumps(shown)
    assert "shown" not in text
    assert "nor this" not in text
    assert shown["limits"] == {
        "requests": "60/minute", "tokens": None, "concurrent": None,
    }  # fmt: skip
    assert shown["budget"] == {"daily_usd": 0.5, "monthly_usd": None}
    assert shown["created_at"] == "2027-01-15T08:00:00Z"
    assert shown["former_until"] == "2027-01-15T08:01:00Z"
    assert (shown["expires_at"], shown["last_used_at"]) == (None, None)


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({}, "good"),
        ({"enabled": False}, "disabled"),
        ({"expires_at": 100.0}, "expired"),
        ({"expires_at": 100.1}, "good"),
        ({"expires_at": 1.0, "revoked_at": 2.0, "enabled": False}, "revoked"),
    ],
)
def test_a_word_tells_whether_it_may_be_used(
    values: dict[str, Any], state: str
) -> None:
    facts: dict[str, Any] = {"id": "k", "name": "n", "tenant": "t", "hash": "",
             "prefix": "", "scopes": (), "created_at": 0.0}  # fmt: skip
    assert state_of(KeyRow(**facts, **values), 100.0) == state


def test_a_new_key_is_what_is_said_and_usual_in_all_else() -> None:
    assert read_new({"name": "app"}) == KeyFields(name="app")
    assert read_new(
        {
            "name": "app",
            "tenant": "a",
            "scopes": ["execute", "execute"],
            "models": ["tin*"],
            "priority": 0,
            "limits": {"requests": "9/minute", "concurrent": 2},
            "budget": {"monthly_usd": 3},
            "enabled": False,
            "expires_at": "2027-01-15T08:00:00Z",
            "metadata": {"team": "a"},
        }
    ) == KeyFields(
        name="app",
        tenant="a",
        scopes=("execute",),
        models=("tin*",),
        priority=0,
        requests_rate="9/minute",
        concurrent=2,
        monthly_usd=3,
        enabled=False,
        expires_at=1_800_000_000.0,
        metadata={"team": "a"},
    )


def test_a_change_leaves_alone_what_it_does_not_name() -> None:
    before = KeyFields(
        name="app", tokens_rate="5/second", concurrent=1, expires_at=5.0, priority=3
    )
    change = read_change({"limits": {"concurrent": None}, "expires_at": None})
    assert change(before) == KeyFields(name="app", tokens_rate="5/second", priority=3)
    assert read_change({"limits": None})(before) == KeyFields(
        name="app", expires_at=5.0, priority=3
    )
    assert read_change({"expires_at": 7})(before).expires_at == 7.0


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"nam": "x"}, "nam"),
        ({"id": "key_1"}, "id"),
        ({"name": 7}, "name"),
        ({"scopes": "inference"}, "scopes"),
        ({"models": [1]}, "models"),
        ({"priority": True}, "priority"),
        ({"priority": 1.5}, "priority"),
        ({"enabled": 1}, "enabled"),
        ({"limits": {"request": "1/minute"}}, "limits.request"),
        ({"limits": {"concurrent": "1"}}, "limits.concurrent"),
        ({"budget": {"daily_usd": True}}, "budget.daily_usd"),
        ({"budget": 5}, "budget"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_what_is_wrong_names_the_field(given: dict[str, Any], param: str) -> None:
    with pytest.raises(CallerFault) as refused:
        read_change(given)
    assert (refused.value.code, refused.value.param) == ("invalid_field", param)


def test_a_new_key_needs_a_name() -> None:
    with pytest.raises(CallerFault) as refused:
        read_new({"tenant": "a"})
    assert (refused.value.code, refused.value.param) == ("missing_field", "name")
