from __future__ import annotations

import pytest

from proxy.state.valkey.standing import Standing
from tests.fakes.hand_clock import HandClock

SETTLE_S = 2.5


@pytest.mark.parametrize(
    ("processes", "limit", "share"),
    [(1, 4, 4), (2, 4, 2), (3, 4, 1), (3, 1, 1), (3, 0, 0), (2, 5, 2)],
)
def test_alone_it_may_hold_its_share_and_at_least_one(
    processes: int, limit: int, share: int
) -> None:
    assert Standing(processes, SETTLE_S).share(limit) == share


def test_it_may_hold_all_but_for_a_moment_after_the_server_is_back() -> None:
    clock = HandClock()
    standing = Standing(2, SETTLE_S, clock)
    standing.come_back()
    assert standing.ceiling(4) == 2
    clock.pass_by(SETTLE_S)
    assert standing.ceiling(4) == 4


def test_processes_that_are_not_back_yet_are_counted() -> None:
    clock = HandClock()
    standing = Standing(1, SETTLE_S, clock)
    standing.count(3)
    standing.lose()
    standing.count(1)
    standing.come_back()
    standing.count(2)
    assert standing.processes == 3
    clock.pass_by(SETTLE_S)
    standing.count(2)
    assert standing.processes == 2


def test_only_a_server_that_was_there_can_be_lost() -> None:
    standing = Standing(1, SETTLE_S)
    standing.lose()
    assert (standing.is_away, standing.losses) == (True, 0)
    standing.come_back()
    standing.lose()
    standing.lose()
    assert (standing.is_away, standing.losses) == (True, 1)
