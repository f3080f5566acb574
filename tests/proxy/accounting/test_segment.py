from __future__ import annotations

from pathlib import Path

import pytest

from proxy.accounting.segment import Segment, abandoned, adopt, create

HEADER = b'["id"]\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "one.spool"


def test_lines_come_back_in_pieces_of_whole_lines(path: Path) -> None:
    segment = create(path, HEADER)
    segment.append(b"first\nsecond\n")
    segment.append(b"third\n")
    assert segment.count_unread() == 3
    read = []
    while not segment.is_read:
        data = segment.read(9)
        read.append(data)
        segment.read_to += len(data)
    assert read == [b"first\n", b"second\n", b"third\n"]
    assert segment.unread_bytes == 0
    segment.close()


def test_one_that_somebody_has_is_not_adopted(path: Path) -> None:
    segment = create(path, HEADER)
    assert adopt(path) is None
    segment.append(b"line\n")
    segment.close()
    adopted = adopt(path)
    assert adopted is not None
    assert (adopted.header, adopted.read(100)) == (HEADER, b"line\n")
    assert adopt(path) is None
    adopted.remove()
    assert adopt(path) is None
    assert abandoned(path.parent) == []


def test_what_cannot_be_opened_is_told(path: Path) -> None:
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        adopt(path)


def test_half_a_line_of_a_process_that_was_killed_is_left_out(path: Path) -> None:
    path.write_bytes(HEADER + b"whole\nha")
    adopted = adopt(path)
    assert adopted is not None
    assert adopted.read(100) == b"whole\n"
    adopted.close()


@pytest.mark.parametrize("content", [b"", b'["i', HEADER, HEADER + b"ha"])
def test_one_without_a_whole_line_is_read_already(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    adopted = adopt(path)
    assert adopted is not None
    assert adopted.is_read
    adopted.close()


def test_lines_that_do_not_fit_leave_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = create(path, HEADER)
    segment.append(b"first\n")
    write = __import__("os").write
    monkeypatch.setattr("os.write", lambda fd, data: write(fd, data[:3]))
    with pytest.raises(OSError, match="room"):
        segment.append(b"second\n")
    monkeypatch.undo()
    assert path.read_bytes() == HEADER + b"first\n"
    segment.append(b"third\n")
    assert segment.read(100) == b"first\nthird\n"
    segment.close()


def test_a_line_longer_than_a_piece_is_answered_as_it_is(path: Path) -> None:
    path.write_bytes(HEADER + b"x" * 50 + b"\n")
    adopted = adopt(path)
    assert adopted is not None
    assert adopted.read(10) == b"x" * 10
    adopted.close()


def test_a_name_that_is_taken_stays_with_who_has_it(path: Path) -> None:
    path.with_suffix(".new").write_bytes(b"")
    with pytest.raises(FileExistsError):
        create(path, HEADER)
    assert isinstance(create(path.with_name("two.spool"), HEADER), Segment)
