from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from proxy.accounting.ledger import Ledger
from proxy.accounting.ledger_line import HEADER, encode
from proxy.accounting.spool import Room, Spool
from proxy.core import clock
from proxy.core.tasks import Tasks
from proxy.storage.errors import DatabaseAway, DataRefused
from tests.fakes.hand_clock import HandClock
from tests.parts.records import record_of
from tests.parts.until import until


class FakeStore:
    """Takes rows as the database does: once each, or not at all."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.calls = 0
        self.away = False
        self.refused: set[str] = set()
        self.stored = asyncio.Event()

    async def insert(self, rows: Sequence[Sequence[Any]]) -> int:
        self.calls += 1
        await asyncio.sleep(0)
        if self.away:
            raise DatabaseAway("locked")
        if any(row[0] in self.refused for row in rows):
            raise DataRefused("out of range")
        self.ids += [row[0] for row in rows]
        self.stored.set()
        return len(rows)


def a_record(number: int, ended_at: float = 1000.0) -> Any:
    """By default one that has just ended, as a `HandClock` says that has not moved."""
    return record_of(
        id=f"req_{number}",
        operation="chat",
        started_at=ended_at - 5.0,
        ended_at=ended_at,
    )


def a_ledger(folder: Path, store: FakeStore, **options: Any) -> Ledger:
    """One clock serves as both, so that records are as old as it says."""
    options.setdefault("wall", options.get("now", clock.monotonic))
    return Ledger(Spool(folder, HEADER, options.pop("room", Room())), store, **options)


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_records_reach_the_database_by_themselves(tmp_path: Path) -> None:
    store = FakeStore()
    async with (
        Tasks(lambda _: None) as tasks,
        a_ledger(tmp_path, store, tasks=tasks) as it,
    ):
        it.append(a_record(1))
        assert it.lag.rows == 1
        await store.stored.wait()
    assert store.ids == ["req_1"]
    assert left_in(tmp_path) == []


async def test_the_last_records_are_stored_at_the_end(tmp_path: Path) -> None:
    store = FakeStore()
    async with (
        Tasks(lambda _: None) as tasks,
        a_ledger(tmp_path, store, tasks=tasks) as it,
    ):
        for number in range(5):
            it.append(a_record(number))
    assert store.ids == [f"req_{number}" for number in range(5)]


async def test_a_record_is_in_the_file_when_it_is_appended(tmp_path: Path) -> None:
    async with a_ledger(tmp_path, FakeStore()) as ledger:
        for number in range(1, 4):
            ledger.append(a_record(number))
            (file,) = left_in(tmp_path)
            assert file.read_bytes().count(b"\n") - 1 == number


async def test_records_that_have_nowhere_to_go_are_counted(tmp_path: Path) -> None:
    room = Room(disk=0, memory=0)
    async with a_ledger(tmp_path / "spool", FakeStore(), room=room) as ledger:
        ledger.append(a_record(1))
        ledger.append(a_record(2))
        assert ledger.lag.dropped == 2


class Worked:
    """The time that the process has used: all there is, while it is busy."""

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock
        self.busy = True

    def __call__(self) -> float:
        return self._clock() if self.busy else 0.0


@pytest.mark.parametrize("seconds", [0.5, 60])
async def test_a_busy_process_stores_later_but_not_never(
    tmp_path: Path, seconds: float
) -> None:
    store, clock = FakeStore(), HandClock()
    async with a_ledger(tmp_path, store, now=clock, cpu=Worked(clock)) as ledger:
        ledger.append(a_record(1))
        clock.pass_by(seconds)
        assert ledger._is_busy() == (seconds < 10)


async def test_an_idle_process_stores_at_once(tmp_path: Path) -> None:
    clock = HandClock()
    worked = Worked(clock)
    async with a_ledger(tmp_path, FakeStore(), now=clock, cpu=worked) as ledger:
        ledger.append(a_record(1))
        worked.busy = False
        clock.pass_by(1)
        assert not ledger._is_busy()


async def test_what_a_database_that_is_away_does_not_take_waits(
    tmp_path: Path,
) -> None:
    store, clock = FakeStore(), HandClock()
    async with a_ledger(tmp_path, store, now=clock) as ledger:
        store.away = True
        ledger.append(a_record(1))
        clock.pass_by(3)
        assert not await ledger.drain()
        ledger.append(a_record(2))
        lag = ledger.lag
        assert (lag.rows, lag.problem) == (2, "locked")
        assert lag.seconds == pytest.approx(3.0, abs=1e-3)
        store.away = False
        assert await ledger.drain()
        assert store.ids == ["req_1", "req_2"]
        lag = ledger.lag
        assert (lag.rows, lag.seconds, lag.problem) == (0, 0.0, None)


async def test_a_long_idle_time_is_no_lag(tmp_path: Path) -> None:
    clock = HandClock()
    async with a_ledger(tmp_path, FakeStore(), now=clock) as ledger:
        ledger.append(a_record(1))
        await ledger.drain()
        clock.pass_by(1000)
        ledger.append(a_record(2, clock()))
        clock.pass_by(1)
        assert ledger.lag.seconds == pytest.approx(1.0, abs=1e-3)


async def test_the_lag_is_the_age_of_the_oldest_record_however_many_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.accounting.spool._BATCH", 200)
    store, clock = FakeStore(), HandClock()
    async with a_ledger(tmp_path, store, now=clock) as ledger:
        for number in range(4):
            ledger.append(a_record(number, clock()))
            clock.pass_by(1)
        insert = store.insert

        async def one(rows: Sequence[Sequence[Any]]) -> int:
            store.away = bool(store.ids)
            return await insert(rows)

        store.insert = one  # type: ignore[method-assign]
        assert ledger.lag.seconds == pytest.approx(4.0, abs=1e-3)
        assert not await ledger.drain()
        lag = ledger.lag
        assert lag.rows == 3, "a batch was stored"
        assert lag.seconds == pytest.approx(3.0, abs=1e-3)


async def test_the_lag_tells_of_what_others_left_and_of_what_waits_in_memory(
    tmp_path: Path,
) -> None:
    clock = HandClock()
    async with a_ledger(tmp_path, FakeStore(), now=clock) as ledger:
        ledger.append(a_record(1))
    clock.pass_by(60)
    async with a_ledger(tmp_path, FakeStore(), now=clock) as ledger:
        assert ledger.lag.seconds == pytest.approx(60.0)
        ledger.append(a_record(2, clock()))
        assert ledger.lag.seconds == pytest.approx(60.0), "the oldest"
        await ledger.drain()
        assert ledger.lag.seconds == 0.0
    room = Room(disk=0)
    async with a_ledger(tmp_path, FakeStore(), room=room, now=clock) as it:
        it.append(a_record(3, clock()))
        clock.pass_by(2)
        assert (it.lag.held_bytes > 0, it.lag.seconds) == (True, pytest.approx(2.0))


async def test_lines_that_are_no_records_have_no_age(tmp_path: Path) -> None:
    for number, odd in enumerate((b"odd\n", b"[]\n", HEADER)):
        spool = Spool(tmp_path / str(number), HEADER)
        async with Ledger(spool, FakeStore()) as ledger:
            spool.put(odd)
            assert (ledger.lag.rows, ledger.lag.seconds) == (1, 0.0)


async def test_a_record_that_is_refused_does_not_hold_up_the_others(
    tmp_path: Path,
) -> None:
    store = FakeStore()
    store.refused = {"req_7", "req_8", "req_20"}
    async with a_ledger(tmp_path, store) as ledger:
        for number in range(40):
            ledger.append(a_record(number))
        assert await ledger.drain()
        assert ledger.lag.set_aside == 3
    assert len(store.ids) == len(set(store.ids)) == 37
    kept = (tmp_path / "refused.jsonl").read_bytes()
    assert kept.count(b"\n") == 3
    assert b"req_20" in kept


async def test_what_another_process_left_is_taken_over(tmp_path: Path) -> None:
    async with a_ledger(tmp_path, FakeStore()) as ledger:
        ledger.append(a_record(1))
    store, clock = FakeStore(), HandClock()
    async with a_ledger(tmp_path, store, now=clock) as ledger:
        assert ledger.lag.rows == 1
        other = Spool(tmp_path, HEADER)
        other.open()
        other.put(encode(a_record(2), 0.0))
        other.close()
        clock.pass_by(10)
        assert await ledger.drain()
    assert sorted(store.ids) == ["req_1", "req_2"]


async def test_a_defect_does_not_end_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.accounting.ledger._PASS_S", 0.001)
    store = FakeStore()
    insert, faults = store.insert, [ZeroDivisionError("a defect")]

    async def stumble(rows: Sequence[Sequence[Any]]) -> int:
        if faults:
            raise faults.pop()
        return await insert(rows)

    store.insert = stumble  # type: ignore[method-assign]
    async with (
        Tasks(lambda _: None) as tasks,
        a_ledger(tmp_path, store, tasks=tasks) as it,
    ):
        it.append(a_record(1))
        await store.stored.wait()
    assert store.ids == ["req_1"]


async def test_a_database_that_lets_nobody_go_does_not_hold_the_end_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("proxy.accounting.ledger._LAST_PASS_S", 0.01)
    monkeypatch.setattr("proxy.accounting.ledger._LET_GO_S", 0.01)

    class Clinging(FakeStore):
        may_go = asyncio.Event()

        async def insert(self, rows: Sequence[Sequence[Any]]) -> int:
            self.stored.set()
            while not self.may_go.is_set():
                with suppress(asyncio.CancelledError):
                    await self.may_go.wait()
            return await super().insert(rows)

    store = Clinging()
    async with Tasks(lambda _: None) as tasks:
        async with asyncio.timeout(10), a_ledger(tmp_path, store, tasks=tasks) as it:
            it.append(a_record(1))
            await store.stored.wait()
        assert "stored later" in caplog.text
        (left,) = left_in(tmp_path)
        assert b"req_1" in left.read_bytes()
        store.may_go.set()
    assert left_in(tmp_path) == [left], "whoever comes next stores it, maybe again"


async def leave_one(folder: Path) -> None:
    async with a_ledger(folder, FakeStore()) as ledger:
        ledger.append(a_record(1))


async def test_what_was_left_is_stored_before_anybody_is_served(tmp_path: Path) -> None:
    await leave_one(tmp_path)
    store = FakeStore()
    async with Tasks(lambda _: None) as tasks, a_ledger(tmp_path, store, tasks=tasks):
        assert store.ids == ["req_1"]


async def test_a_database_that_is_slow_at_the_start_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.accounting.ledger._FIRST_PASS_S", 0.01)
    monkeypatch.setattr("proxy.accounting.ledger._PASS_S", 0.01)
    await leave_one(tmp_path)

    class SlowAtFirst(FakeStore):
        async def insert(self, rows: Sequence[Sequence[Any]]) -> int:
            if not self.calls:
                self.calls += 1
                await asyncio.Event().wait()
            return await super().insert(rows)

    store = SlowAtFirst()
    async with (
        asyncio.timeout(10),
        Tasks(lambda _: None) as tasks,
        a_ledger(tmp_path, store, tasks=tasks) as ledger,
    ):
        assert ledger.lag.rows == 1
        await store.stored.wait()
    assert store.ids == ["req_1"], "later"


class SlowStore(FakeStore):
    """Takes a twentieth of a second for each row."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__()
        self.clock = clock

    async def insert(self, rows: Sequence[Sequence[Any]]) -> int:
        self.clock.now += 0.05 * len(rows)
        return await super().insert(rows)


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the ledger waited; a batch is one row."""
    noted: list[float] = []

    async def rest(self: Ledger, seconds: float) -> None:
        noted.append(round(seconds, 3))
        await asyncio.sleep(0)

    monkeypatch.setattr(Ledger, "_wait", rest)
    monkeypatch.setattr("proxy.accounting.spool._BATCH", 200)
    return noted


async def test_between_two_batches_requests_have_the_processor(
    tmp_path: Path, rests: list[float]
) -> None:
    clock = HandClock()
    store = SlowStore(clock)
    async with (
        Tasks(lambda _: None) as tasks,
        a_ledger(tmp_path, store, tasks=tasks, now=clock, cpu=lambda: 0.0) as it,
    ):
        for number in range(4):
            it.append(a_record(number))
        await until(lambda: len(store.ids) == 4, "all are stored")
    assert rests.count(0.1) >= 3
    rests.clear()
    by_hand = a_ledger(tmp_path, store, now=clock)
    by_hand.append(a_record(4))
    assert await by_hand.drain()
    assert rests == [], "it waits for the database alone"


async def test_a_burst_that_begins_meanwhile_comes_first(
    tmp_path: Path, rests: list[float]
) -> None:
    clock = HandClock()
    store = SlowStore(clock)

    used = itertools.count(1000, 1000)

    def cpu() -> float:  # busy from the first batch on
        return float(next(used)) if store.calls else 0.0

    async with (
        Tasks(lambda _: None) as tasks,
        a_ledger(tmp_path, store, tasks=tasks, now=clock, cpu=cpu) as it,
    ):
        for number in range(4):
            it.append(a_record(number))
        await until(lambda: len(rests) > 20, "it looked often")
        assert len(store.ids) == 1
        assert it.lag.rows == 3
    assert len(store.ids) == 4, "at the end nothing is more urgent"


async def test_what_has_waited_for_long_goes_in_one_pass_however_busy(
    tmp_path: Path, rests: list[float]
) -> None:
    clock, used = HandClock(), itertools.count(1000, 1000)
    store = SlowStore(clock)
    async with (
        Tasks(lambda _: None) as tasks,
        a_ledger(
            tmp_path, store, tasks=tasks, now=clock, cpu=lambda: float(next(used))
        ) as it,
    ):
        for number in range(4):
            it.append(a_record(number))
        await until(lambda: len(rests) > 20, "it looked often")
        assert store.ids == []
        clock.now += 11
        await until(lambda: len(store.ids) == 4, "all are stored")
        assert it.lag.rows == 0
