from __future__ import annotations

import pytest

from proxy.routing.status import OUT_OF_USE, TRANSITIONS, Sign, Status, after, failure

SEEN = set(Status) - {Status.DISABLED, Status.DRAINING}


def test_the_table_is_whole_and_never_ends_in_what_the_operator_holds() -> None:
    assert set(TRANSITIONS) == {(status, sign) for status in SEEN for sign in Sign}
    assert set(TRANSITIONS.values()) <= SEEN


def test_two_silences_degrade_and_the_third_ends_it() -> None:
    health, seen = Status.ONLINE, []
    for failures in range(3):
        health = after(health, failure(failures))
        seen.append(health)
    assert seen == [Status.DEGRADED, Status.DEGRADED, Status.OFFLINE]


@pytest.mark.parametrize("before", sorted(SEEN))
def test_nobody_there_is_offline_at_once_and_a_good_answer_brings_anyone_back(
    before: Status,
) -> None:
    assert after(before, Sign.GONE) is Status.OFFLINE
    assert after(before, Sign.WELL) is Status.ONLINE


def test_a_refused_key_is_no_outage() -> None:
    assert all(after(before, Sign.AILING) not in OUT_OF_USE for before in SEEN)


def test_who_was_never_up_gets_no_patience() -> None:
    assert after(Status.UNKNOWN, Sign.FAILED) is Status.OFFLINE
    assert after(Status.OFFLINE, Sign.FAILED) is Status.OFFLINE
