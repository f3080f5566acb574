from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.pieces import Pieces


@given(st.lists(st.binary(max_size=20)))
def test_all_come_out_in_their_order(given: list[bytes]) -> None:
    pieces = Pieces()
    for _ in range(2):
        for number, piece in enumerate(given, 1):
            pieces.add(piece)
            assert pieces.size == len(b"".join(given[:number]))
        assert pieces.take() == b"".join(given)
        assert pieces.size == 0
    assert pieces.take() == b""


def test_a_single_one_is_not_copied() -> None:
    pieces, data = Pieces(), b"x" * 1000
    pieces.add(data)
    assert pieces.take() is data


def test_many_are_held_little_more_than_once() -> None:
    pieces, piece, count = Pieces(), bytes(1 << 16), 160
    tracemalloc.start()
    try:
        for _ in range(count):
            pieces.add(piece)
        data = pieces.take()
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(data) == count << 16
    assert most < 1.3 * len(data)
