"""Outcomes of replies that pass as they are, of which only the status is known."""

from __future__ import annotations

import pytest

from proxy.core.errors import ProviderFault
from proxy.routing.outcome import ANSWERED, LEFT, Ending, Outcome, of_passage


@pytest.mark.parametrize("status", [None, 101, 200, 204, 302, 304])
def test_a_good_reply_is_an_answer(status: int | None) -> None:
    assert of_passage(ANSWERED, status) is ANSWERED


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (400, Ending.CALLER),
        (401, Ending.KEY_REFUSED),
        (403, Ending.KEY_REFUSED),
        (404, Ending.NOT_THERE),
        (410, Ending.NOT_THERE),
        (422, Ending.CALLER),
        (429, Ending.RATE_LIMITED),
        (500, Ending.FAILED),
        (502, Ending.BROKEN),
        (503, Ending.OVERLOADED),
        (504, Ending.BROKEN),
        (529, Ending.OVERLOADED),
    ],
)
def test_a_refusal_is_told_by_its_status(status: int, ending: Ending) -> None:
    assert of_passage(ANSWERED, status) == Outcome(ending, status=status)


@pytest.mark.parametrize(
    "outcome", [LEFT, Outcome(Ending.CUT, ProviderFault("upstream_error", "cut"), 200)]
)
def test_what_did_not_end_well_stays_what_it_was(outcome: Outcome) -> None:
    assert of_passage(outcome, 500) is outcome
