from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxy.accounting import bodies
from proxy.accounting.bodies import LONGEST_BYTES, BodyLog, Copy, Room
from proxy.core.tasks import Tasks
from proxy.storage.bodies import BodyRow
from proxy.storage.errors import DatabaseAway, DataRefused
from tests.parts.until import until


class Store:
    """Keeps rows in memory, and batches; may be away."""

    def __init__(self) -> None:
        self.rows: list[BodyRow] = []
        self.batches: list[int] = []
        self.error: Exception | None = None

    async def put_all(self, rows: Sequence[BodyRow]) -> None:
        if self.error is not None:
            raise self.error
        self.rows += rows
        self.batches.append(len(rows))


def log_of(store: Store, room_bytes: int = 1 << 20) -> BodyLog:
    return BodyLog(store, room_bytes=room_bytes, wall=lambda: 7.0)


def put(log: BodyLog, id_: str, request: bytes = b"ask", reply: bytes = b"") -> None:
    asked, answered = log.begin()
    asked.add(request)
    answered.add(reply)
    log.put(id_, asked, answered)


def test_the_beginning_is_kept_and_all_is_counted() -> None:
    copy = Copy(Room(1 << 30))
    for _ in range(3):
        copy.add(b"x" * (100 << 10))
    copy.add(b"y")
    assert copy.taken() == b"x" * LONGEST_BYTES
    assert copy.size_bytes == (300 << 10) + 1


def test_what_comes_after_a_gap_is_left_out() -> None:
    room = Room(4)
    first, second = Copy(room), Copy(room)
    first.add(b"abc")
    second.add(b"defg")
    room.give_back(100)
    second.add(b"h")
    assert (first.taken(), second.taken()) == (b"abc", b"d")
    assert second.size_bytes == 5


async def test_bodies_are_written_as_they_were_put() -> None:
    store = Store()
    log = log_of(store)
    put(log, "a", b"ask", b"answer")
    put(log, "b", b"")
    assert await log.flush()
    expected = BodyRow(
        request_id="a", kept_at=7.0, request=b"ask", request_bytes=3, reply=b"answer",
        reply_bytes=6,
    )  # fmt: skip
    assert store.rows[0] == expected
    assert [row.request_id for row in store.rows] == ["a", "b"]


async def test_a_database_that_is_away_is_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store()
    log = log_of(store)
    store.error = DatabaseAway("locked")
    put(log, "a")
    assert not await log.flush()
    assert not await log.flush()
    assert caplog.text.count("takes no bodies (locked)") == 1
    store.error = None
    assert await log.flush()
    assert [row.request_id for row in store.rows] == ["a"]
    assert "takes bodies again" in caplog.text


async def test_what_no_database_takes_holds_up_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store()
    log = log_of(store, room_bytes=3)
    store.error = DataRefused("odd")
    put(log, "a")
    assert await log.flush()
    assert (log.waiting, "odd" in caplog.text) == (0, True)
    store.error = None
    put(log, "b")  # the room of the first is free again
    assert await log.flush()
    assert store.rows[0].request == b"ask"


async def test_memory_is_bounded_and_free_again_when_they_are_written() -> None:
    store = Store()
    log = log_of(store, room_bytes=5)
    put(log, "a")
    put(log, "cut")
    put(log, "none")
    assert (log.waiting, log.dropped) == (2, 1)
    assert await log.flush()
    put(log, "d")
    assert await log.flush()
    assert [row.request for row in store.rows] == [b"ask", b"as", b"ask"]
    assert store.rows[1].request_bytes == 3


async def test_no_more_than_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_MOST_WAITING", 2)
    log = log_of(Store(), room_bytes=9)
    for id_ in "abc":
        put(log, id_)
    assert (log.waiting, log.dropped) == (2, 1)
    assert log.begin()[0]._room.left_bytes == 3


async def test_they_are_written_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_BATCH_BYTES", 10)
    monkeypatch.setattr(bodies, "_BATCH_ROWS", 3)
    store = Store()
    log = log_of(store)
    for size in (20, 4, 4, 4, 1, 1, 1):
        put(log, str(size), b"x" * size)
    assert await log.flush()
    assert store.batches == [1, 2, 3, 1]


async def test_a_task_writes_them_and_the_end_waits_for_it() -> None:
    store = Store()
    async with Tasks(lambda _: None) as tasks:
        async with BodyLog(store, tasks) as log:
            put(log, "a")
            await until(lambda: store.rows, "the first")
            put(log, "b")
        assert [row.request_id for row in store.rows] == ["a", "b"]
