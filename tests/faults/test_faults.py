"""Every row of the fault table holds, behind both doors, streaming and not."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.flood import FLOOD
from tests.faults.rig import Seen, play, play_with_another
from tests.faults.row import COMPLETION, FLOW, Again, End, Outcome, Row, Way
from tests.faults.table import TABLE
from tests.parts.http_text import Message, data_of, events
from tests.parts.inside import CHAT
from tests.parts.scripts import DONE, error_of

# The flood has a test of its own.
ROWS = [each for rows in TABLE.values() for each in rows if each is not FLOOD]


# Of a connection that has been used before these say something else.
OF_NEW_CONNECTIONS = {
    "refuses the connection",
    "closes instead of answering",
    "resets instead of answering",
    "does not take the request",
    "answers before it has read the request, and reads no further",
}


@pytest.mark.parametrize("door", ["fast door", "ordinary door"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_fault_ends_as_the_table_says(row: Row, door: str) -> None:
    await assert_row(row, fast=door == "fast door", again=False)


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.name not in OF_NEW_CONNECTIONS],
    ids=lambda row: row.name,
)
async def test_it_ends_so_where_the_same_has_been_answered_before(row: Row) -> None:
    await assert_row(row, fast=True, again=True)


async def assert_row(row: Row, *, fast: bool, again: bool) -> None:
    seen = await asyncio.gather(
        *(play(row.case(way), way, fast=fast, again=again) for way in Way)
    )
    for way, each in zip(Way, seen, strict=True):
        print(f"asked for: {way}; got {each!r:.2000}")
        assert_outcome(each, row.case(way).outcome)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_another_is_asked_where_the_table_says_so(row: Row) -> None:
    played = await asyncio.gather(
        *(play_with_another(row.case(way), way) for way in Way)
    )
    for way, (reply, asked) in zip(Way, played, strict=True):
        outcome = row.case(way).outcome
        print(f"asked for: {way}; got {reply!r:.2000}")
        if outcome.again is Again.NOBODY:
            assert asked == []
            assert_reply(reply, outcome)
        else:
            assert len(asked) == 1
            assert reply.status == 200
            assert reply.body == (COMPLETION if way is Way.WHOLE else FLOW)


def test_no_row_has_the_name_of_another() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def assert_outcome(seen: Seen, outcome: Outcome) -> None:
    assert_reply(seen.reply, outcome)
    assert seen.extra == b""
    assert seen.next is None or seen.next.body == COMPLETION
    assert seen.record.code == outcome.code
    assert seen.record.status == seen.reply.status
    assert {message.target for message in seen.asked} <= {CHAT}
    attempts = len(seen.record.attempts)
    assert (attempts > 1) is (outcome.again is Again.THE_SAME)
    assert len(seen.asked) <= attempts * outcome.asked
    if outcome.kept is not None:
        assert seen.kept is outcome.kept


def assert_reply(reply: Message, outcome: Outcome) -> None:
    assert reply.status == outcome.status
    assert reply.complete is (outcome.end is not End.CUT)
    if outcome.end in (End.COMES, End.CUT):
        assert reply.body == outcome.body
    elif outcome.end is End.REFUSED:
        assert error_of(reply)["code"] == outcome.code
    else:
        assert reply.body.startswith(outcome.body)
        [error, last] = events(reply.body[len(outcome.body) :])
        told = data_of(error)
        assert isinstance(told, dict)
        assert told["error"]["code"] == outcome.code
        assert last == DONE
