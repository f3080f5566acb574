from __future__ import annotations

import errno
import logging
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.accounting.spool import Room, Spool
from tests.fakes.hand_clock import HandClock

HEADER = b'["id"]\n'


def opened(folder: Path, room: Room | None = None) -> Spool:
    spool = Spool(folder, HEADER, room or Room())
    spool.open()
    return spool


def lines(first: int, last: int, width: int = 6) -> list[bytes]:
    return [f"{number:0{width}}\n".encode() for number in range(first, last)]


def put(spool: Spool, some: list[bytes]) -> None:
    spool.put(b"".join(some), len(some))


def numbers(spool: Spool) -> list[int]:
    """Take all there is, as the database would."""
    found: list[int] = []
    while (batch := spool.take()) is not None:
        found += map(int, batch.lines)
        spool.done(batch)
    return found


@contextmanager
def full_disk(at_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond: what is written is cut there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_put_comes_once_and_in_order(tmp_path: Path) -> None:
    spool = opened(tmp_path / "spool")
    put(spool, lines(0, 3))
    put(spool, lines(3, 5))
    assert spool.waiting_rows == 5
    assert spool.waiting_bytes == 35
    assert numbers(spool) == [0, 1, 2, 3, 4]
    assert (spool.waiting_rows, spool.waiting_bytes) == (0, 0)
    put(spool, lines(5, 6))
    assert numbers(spool) == [5]
    spool.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_what_the_database_did_not_take_comes_again(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    put(spool, lines(0, 3))
    batch = spool.take()
    assert batch is not None
    spool.undo(batch)
    assert spool.waiting_rows == 3
    assert numbers(spool) == [0, 1, 2]
    spool.close()


def test_files_that_are_full_or_worth_it_go_when_they_are_read(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for part in range(10):
        put(spool, lines(part * 1000, part * 1000 + 1000, width=2000))
    assert len(list(tmp_path.iterdir())) > 1
    assert numbers(spool) == list(range(10_000))
    assert list(tmp_path.iterdir()) == []
    put(spool, lines(0, 1))
    assert numbers(spool) == [0]
    assert len(list(tmp_path.iterdir())) == 1
    spool.close()


def test_the_next_process_takes_over_what_was_left(tmp_path: Path) -> None:
    first = opened(tmp_path)
    put(first, lines(0, 3))
    second = opened(tmp_path)
    assert second.waiting_rows == 0
    assert second.adopt() == 0
    first.close()
    assert second.adopt() == 3
    assert second.adopt() == 0
    third = opened(tmp_path)
    assert third.waiting_rows == 0
    assert numbers(second) == [0, 1, 2]
    second.close()
    third.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_loses_nothing_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened(tmp_path)
    with full_disk(4096):
        for part in range(100):
            put(spool, lines(part * 10, part * 10 + 10, width=20))
        assert spool.held_bytes > 0
        assert spool.waiting_rows == 1000
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        spool.retry()
    held = spool.held_bytes
    assert spool.waiting_bytes == 21_000
    spool.retry()
    assert (spool.held_bytes, spool.dropped) == (0, 0)
    assert held > 0
    assert sorted(numbers(spool)) == list(range(1000))
    spool.close()


def test_what_waits_in_memory_reaches_the_database_too(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    with full_disk(10):
        put(spool, lines(0, 5))
        put(spool, lines(5, 7))
        batch = spool.take()
        assert batch is not None
        spool.undo(batch)
        assert spool.waiting_rows == 7
        assert numbers(spool) == list(range(7))
        assert (spool.waiting_rows, spool.waiting_bytes) == (0, 0)
    spool.close()


def test_beyond_both_limits_records_are_dropped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened(tmp_path, Room(disk=70, memory=35))
    for number in range(20):
        put(spool, lines(number, number + 1))
    assert (spool.waiting_rows, spool.dropped) == (15, 5)
    assert logging.CRITICAL in [record.levelno for record in caplog.records]
    assert numbers(spool) == list(range(15))
    put(spool, lines(20, 21))
    assert numbers(spool) == [20]
    spool.close()


def test_without_its_folder_records_wait_in_memory(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool = opened(folder)
    folder.rmdir()
    put(spool, lines(0, 2))
    assert spool.adopt() == 0
    assert spool.waiting_rows == 2
    folder.mkdir()
    spool.retry()
    assert spool.held_bytes == 0
    assert numbers(spool) == [0, 1]
    spool.close()


def test_what_no_database_takes_is_kept_for_a_person(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.keep_aside([b"odd", b"strange"])
    assert (tmp_path / "refused.jsonl").read_bytes() == b"odd\nstrange\n"
    assert spool.set_aside == 2
    spool.close()


def test_what_cannot_be_taken_over_is_told_and_does_not_keep_the_rest_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = opened(tmp_path)
    put(before, lines(0, 2))
    before.close()
    (tmp_path / "0-odd.spool").mkdir()
    clock = HandClock()
    spool = Spool(tmp_path, HEADER, now=clock)
    spool.open()
    for _ in range(9):
        assert spool.adopt() == 0
    assert spool.disk_errors == 10
    (told,) = [record.getMessage() for record in caplog.records]
    assert "0-odd.spool cannot be taken over: [Errno 21]" in told, "once a minute"
    clock.pass_by(60)
    spool.adopt()
    assert len(caplog.records) == 2
    assert numbers(spool) == [0, 1]
    spool.close()


def test_a_folder_that_is_gone_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "spool"
    spool = opened(folder)
    folder.rmdir()
    (tmp_path / "spool").write_bytes(b"")
    put(spool, lines(0, 1))
    assert spool.adopt() == 0
    spool.retry()
    told = caplog.text
    assert "cannot be looked through" in told
    assert "cannot be made" in told
    assert spool.disk_errors == 4, "each is counted"
    spool.close()


def test_a_disk_that_keeps_nothing_for_good_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "it is broken")

    monkeypatch.setattr("os.fsync", broken)
    spool = opened(tmp_path)
    put(spool, lines(0, 1))
    for _ in range(5):
        spool.sync()
    assert spool.disk_errors == 5
    assert caplog.text.count("it is broken") == 1
    spool.close()


def test_what_neither_database_nor_disk_takes_is_counted_as_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened(tmp_path)
    (tmp_path / "refused.jsonl").mkdir()
    spool.keep_aside([b"odd", b"strange"])
    assert (spool.set_aside, spool.dropped, spool.disk_errors) == (0, 2, 1)
    assert "are lost" in caplog.text
    spool.close()


def unreadable(folder: Path, spool: Spool) -> Callable[[], None]:
    """Let the first of its files not be read any more; answers what ends that."""
    first = spool._segments[0]
    kept = os.dup(first._descriptor)
    blind = os.open(folder, os.O_PATH)
    os.dup2(blind, first._descriptor)
    os.close(blind)

    def mend() -> None:
        os.dup2(kept, first._descriptor)
        os.close(kept)

    return mend


def test_a_file_that_cannot_be_read_is_told_once_and_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = HandClock()
    spool = Spool(tmp_path, HEADER, now=clock)
    spool.open()
    put(spool, lines(0, 2))
    mend = unreadable(tmp_path, spool)
    assert numbers(spool) == []
    put(spool, lines(2, 4))
    assert numbers(spool) == [2, 3], "in a file of their own"
    assert spool.waiting_rows == 2
    assert list(spool.oldest()) == []
    for _ in range(3):
        assert numbers(spool) == []
        clock.pass_by(60)
    (told,) = [record.getMessage() for record in caplog.records]
    assert "cannot be read" in told
    assert spool.disk_errors == 3, "it is not tried all the time"
    mend()
    assert numbers(spool) == [0, 1]
    assert (spool.waiting_rows, spool.waiting_bytes) == (0, 0)
    spool.close()


def test_a_file_that_was_cut_short_is_told_and_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened(tmp_path)
    put(spool, lines(0, 2))
    (file,) = tmp_path.iterdir()
    os.truncate(file, len(HEADER))
    assert numbers(spool) == []
    assert "cut short" in caplog.text
    put(spool, lines(2, 3))
    assert numbers(spool) == [2]
    spool.close()


def test_a_file_that_cannot_be_removed_is_told_and_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("proxy.accounting.spool._WORTH_REMOVING", 0)
    spool = opened(tmp_path)

    def refused(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "not yours", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        put(spool, lines(0, 2))
        assert numbers(spool) == [0, 1]
        assert spool.adopt() == 0
        put(spool, lines(2, 3))
        assert numbers(spool) == [2]
        put(spool, lines(3, 4))
        spool.close()
    assert caplog.text.count("cannot be removed") == 1
    assert spool.disk_errors >= 2
    assert len(list(tmp_path.iterdir())) == 3


def test_the_oldest_line_is_that_which_goes_first(tmp_path: Path) -> None:
    for number in range(3):
        before = Spool(tmp_path, HEADER, wall=lambda at=float(number): at)
        before._segments.clear()
        before.put(lines(number, number + 1)[0])
        before.close()
    spool = opened(tmp_path)
    put(spool, lines(3, 4))
    assert next(spool.oldest()) == (b"000000", HEADER)
    assert numbers(spool) == [0, 1, 2, 3]
    spool.close()


def test_what_nobody_has_taken_by_the_end_is_told_as_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened(tmp_path)
    with full_disk(10):
        put(spool, lines(0, 5))
        put(spool, lines(5, 7))
        spool.close()
    assert spool.dropped == 7
    assert "7 records are lost" in caplog.text
    assert caplog.records[-1].levelno == logging.CRITICAL
